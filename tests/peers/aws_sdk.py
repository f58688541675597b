"""The AWS IoT Device SDK for Python v2 against a node over mutual TLS: its service clients for shadows, classic and
named, in both generations, on the topics that they have built in.

`MANIFOLD_BIN` names the executable.
"""

import queue
import tempfile
import uuid

import awsiot
from awscrt import mqtt, mqtt_request_response
from awsiot import iotshadow, mqtt5_client_builder, mqtt_connection_builder
from certificates import authority, issue
from checks import check, finish
from concurrent.futures import Future
from hub import PATIENCE_SECS
from provisioning import Key, Node

THING = "sensor"


def certified(node, folder):
    """The key of a thing, with a certificate by an authority of the project."""
    node.ctl("things", "create", f"thing={THING}")
    node.ctl("authorities", "create", "authority=plant")
    key = Key(folder, "device")
    key.keep(node.ctl("certificates", "create", f"name={THING}", "csr=" + key.request())["certificate"])
    return key


def refused(future):
    """The code of the refusal, by the clients of the second generation; `None` if there was none."""
    try:
        future.result(PATIENCE_SECS)
        return None
    except awsiot.V2ServiceException as error:
        return error.modeled_error.code


def second_generation(node, folder, key):
    """Requests with their answers, and streams of events, over MQTT 5."""
    connected, stopped = Future(), Future()
    client = mqtt5_client_builder.mtls_from_path(
        endpoint="localhost",
        port=node.port,
        cert_filepath=f"{key.path}.crt",
        pri_key_filepath=f"{key.path}.key",
        ca_filepath=f"{folder}/ca.crt",
        client_id=THING,
        on_lifecycle_connection_success=lambda _: connected.set_result(True),
        on_lifecycle_connection_failure=lambda data: connected.set_exception(data.exception),
        on_lifecycle_stopped=lambda _: stopped.set_result(True),
    )
    client.start()
    check("the client of MQTT 5 connects by its certificate", connected.result(PATIENCE_SECS))
    options = mqtt_request_response.ClientOptions(
        max_request_response_subscriptions=3,
        max_streaming_subscriptions=4,
        operation_timeout_in_seconds=PATIENCE_SECS,
    )
    shadows = iotshadow.IotShadowClientV2(client, options)
    updates, deltas, named = queue.Queue(), queue.Queue(), queue.Queue()
    opened = []
    for stream, request, into in (
        (shadows.create_shadow_updated_stream, iotshadow.ShadowUpdatedSubscriptionRequest, updates),
        (shadows.create_shadow_delta_updated_stream, iotshadow.ShadowDeltaUpdatedSubscriptionRequest, deltas),
    ):
        subscribed = Future()
        options = awsiot.ServiceStreamOptions(into.put, lambda event, to=subscribed: to.done() or to.set_result(event))
        opened.append((stream(request(thing_name=THING), options), subscribed))
    subscribed = Future()
    options = awsiot.ServiceStreamOptions(named.put, lambda event, to=subscribed: to.done() or to.set_result(event))
    request = iotshadow.NamedShadowDeltaUpdatedSubscriptionRequest(thing_name=THING, shadow_name="app")
    opened.append((shadows.create_named_shadow_delta_updated_stream(request, options), subscribed))
    for stream, subscribed in opened:
        stream.open()
        subscribed.result(PATIENCE_SECS)
    check("its streams are open", len(opened) == 3)

    get = iotshadow.GetShadowRequest(thing_name=THING)
    check("a shadow that is not there is told of with 404", refused(shadows.get_shadow(get)) == 404)
    update = iotshadow.UpdateShadowRequest(thing_name=THING)
    update.state = iotshadow.ShadowState(desired={"speed": 5, "on": True}, reported={"speed": 3})
    done = shadows.update_shadow(update).result(PATIENCE_SECS)
    check("an update is accepted with version 1", done.version == 1, done)
    delta = deltas.get(timeout=PATIENCE_SECS)
    check("the delta has what differs", delta.state == {"speed": 5, "on": True}, delta)
    told = updates.get(timeout=PATIENCE_SECS)
    check("the event has the shadow before and after", told.current.version == 1, told)
    seen = shadows.get_shadow(get).result(PATIENCE_SECS)
    check("get shows desired, reported and delta", seen.state.delta == {"speed": 5, "on": True}, seen)
    check("with their times", "speed" in seen.metadata.desired, seen.metadata)
    update.version = 7
    check("another version than that is a conflict", refused(shadows.update_shadow(update)) == 409)
    update = iotshadow.UpdateShadowRequest(thing_name=THING)
    update.state = iotshadow.ShadowState(reported={"speed": 5, "on": True})
    shadows.update_shadow(update).result(PATIENCE_SECS)
    seen = shadows.get_shadow(get).result(PATIENCE_SECS)
    check("once reported there is no delta", not seen.state.delta, seen)
    foreign = iotshadow.GetShadowRequest(thing_name="another")
    is_refused = False
    try:
        shadows.get_shadow(foreign).result(PATIENCE_SECS)
    except Exception:
        is_refused = True
    check("the shadow of another thing is not to be had", is_refused)

    update = iotshadow.UpdateNamedShadowRequest(thing_name=THING, shadow_name="app")
    update.state = iotshadow.ShadowState(desired={"mode": "eco"})
    done = shadows.update_named_shadow(update).result(PATIENCE_SECS)
    check("a named shadow has a version of its own", done.version == 1, done)
    check("and a delta of its own", named.get(timeout=PATIENCE_SECS).state == {"mode": "eco"})
    get = iotshadow.GetNamedShadowRequest(thing_name=THING, shadow_name="app")
    seen = shadows.get_named_shadow(get).result(PATIENCE_SECS)
    check("it is read by its name", seen.state.desired == {"mode": "eco"}, seen)
    delete = iotshadow.DeleteNamedShadowRequest(thing_name=THING, shadow_name="app")
    shadows.delete_named_shadow(delete).result(PATIENCE_SECS)
    check("and deleted", refused(shadows.get_named_shadow(get)) == 404)
    shadows.delete_shadow(iotshadow.DeleteShadowRequest(thing_name=THING)).result(PATIENCE_SECS)
    check("the classic one is deleted", refused(shadows.get_shadow(iotshadow.GetShadowRequest(thing_name=THING))) == 404)
    client.stop()
    stopped.result(PATIENCE_SECS)


def first_generation(node, folder, key):
    """Subscriptions and publications one by one, over MQTT 3.1.1."""
    connection = mqtt_connection_builder.mtls_from_path(
        endpoint="localhost",
        port=node.port,
        cert_filepath=f"{key.path}.crt",
        pri_key_filepath=f"{key.path}.key",
        ca_filepath=f"{folder}/ca.crt",
        client_id=THING,
        clean_session=True,
        keep_alive_secs=30,
    )
    connection.connect().result(PATIENCE_SECS)
    check("the client of MQTT 3.1.1 connects by its certificate", True)
    shadows = iotshadow.IotShadowClient(connection)
    accepted, rejected, deltas = queue.Queue(), queue.Queue(), queue.Queue()
    of_thing = {"thing_name": THING}
    for subscribe, request, into in (
        (shadows.subscribe_to_update_shadow_accepted, iotshadow.UpdateShadowSubscriptionRequest, accepted),
        (shadows.subscribe_to_update_shadow_rejected, iotshadow.UpdateShadowSubscriptionRequest, rejected),
        (shadows.subscribe_to_shadow_delta_updated_events, iotshadow.ShadowDeltaUpdatedSubscriptionRequest, deltas),
    ):
        subscribe(request(**of_thing), mqtt.QoS.AT_LEAST_ONCE, into.put)[0].result(PATIENCE_SECS)
    token = str(uuid.uuid4())
    state = iotshadow.ShadowState(desired={"color": "red"}, reported={"color": "blue"})
    request = iotshadow.UpdateShadowRequest(thing_name=THING, client_token=token, state=state)
    shadows.publish_update_shadow(request, mqtt.QoS.AT_LEAST_ONCE).result(PATIENCE_SECS)
    answer = accepted.get(timeout=PATIENCE_SECS)
    check("an update is accepted with its token", answer.client_token == token, answer)
    check("and followed by its delta", deltas.get(timeout=PATIENCE_SECS).state == {"color": "red"})
    request.version = 99
    shadows.publish_update_shadow(request, mqtt.QoS.AT_LEAST_ONCE).result(PATIENCE_SECS)
    answer = rejected.get(timeout=PATIENCE_SECS)
    check("a wrong version is rejected with 409 and its token", (answer.code, answer.client_token) == (409, token), answer)
    connection.disconnect().result(PATIENCE_SECS)


def main():
    with tempfile.TemporaryDirectory() as folder:
        authority(folder)
        issue(folder, "localhost", "subjectAltName=DNS:localhost")
        node = Node(folder)
        try:
            key = certified(node, folder)
            second_generation(node, folder, key)
            first_generation(node, folder, key)
        finally:
            node.child.kill()
    finish()


if __name__ == "__main__":
    main()
