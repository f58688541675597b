"""A device of paho-mqtt at an edge node that has registered itself, and an application of paho-mqtt at its hub: commands,
shadows and presence over an outage and `kill -9` of either."""

import statistics
import tempfile
import time

from checks import check, finish
from hub import Client, Hub

SHADOW = "things/fan/shadow"
SPIN = "things/fan/commands/spin"
ROUND_TRIPS = 100


def edge_of(hub, data, secret):
    uplink = (f"uplink.url=mqtt://127.0.0.1:{hub.port}", "uplink.enrolment=sites", f"uplink.secret={secret}")
    return Hub(data, ("role=edge", "edge.id=press", *uplink))


def until(ask, is_it, secs=20):
    deadline = time.monotonic() + secs
    told = None
    while time.monotonic() < deadline:
        try:
            told = ask()
            if is_it(told):
                return told
        except RuntimeError as error:
            told = str(error)
        time.sleep(0.1)
    return None


def answer(device):
    request = device.wait_for(f"{SPIN}/request")
    if request:
        device.publish(f"{SPIN}/response", {"id": request["id"], "status": "ok", "output": request["input"]})
    return request


def round_trips(app, device):
    took = []
    for number in range(ROUND_TRIPS):
        begun = time.monotonic()
        app.publish(f"{SPIN}/invoke", {"id": f"r{number}", "input": number})
        answer(device)
        result = app.wait_for(f"{SPIN}/result", lambda it, number=number: it["id"] == f"r{number}")
        if not result or result["status"] != "succeeded" or result["output"] != number:
            return result, took
        took.append((time.monotonic() - begun) * 1000)
    return None, took


def main(hub_data, edge_data):
    hub = Hub(hub_data, ("listen.mqtt=127.0.0.1:18849",))
    secret = hub.ctl("enrolments", "create", "enrolment=sites", "registers=edges")["secret"]
    hub.ctl("enrolments", "add", "enrolment=sites", 'serials=["press"]')
    edge = edge_of(hub, edge_data, secret)
    shown = until(lambda: hub.ctl("edges", "get", "edge=press"), lambda it: it["status"]["online"])
    check("an edge node that nobody has registered is online", bool(shown), shown)
    thing = hub.ctl("things", "create", "thing=fan", "edge=press")
    given = until(lambda: hub.ctl("things", "get", "thing=fan"), lambda it: it["given"]["state"] == "in_sync")
    check("the edge node has the thing", bool(given), given)
    user = hub.ctl("users", "create", "user=panel", "role=app")

    device = Client(edge.port, "fan", "fan", thing["secret"])
    device.subscribe(f"{SPIN}/request")
    device.subscribe(f"{SHADOW}/update/delta")
    app = Client(hub.port, "panel", "panel", user["secret"])
    app.subscribe("things/fan/status")
    status = app.wait_for("things/fan/status", lambda it: it["online"])
    check("the hub knows that the device is there", bool(status), status)
    app.subscribe(f"{SPIN}/result")
    app.subscribe(f"{SHADOW}/update/documents")
    wrong, took = round_trips(app, device)
    check(f"{ROUND_TRIPS} commands are done, each with its own answer", wrong is None, wrong)
    if took:
        took.sort()
        print(f"   a command from hub to device and back: median {statistics.median(took):.1f} ms, most {took[-1]:.1f} ms")

    app.publish(f"{SHADOW}/update", {"state": {"desired": {"speed": 3}}})
    delta = device.wait_for(f"{SHADOW}/update/delta")
    check("what is wanted comes down", bool(delta) and delta["state"] == {"speed": 3}, delta)
    device.publish(f"{SHADOW}/update", {"state": {"reported": {"speed": 3}}})
    document = app.wait_for(f"{SHADOW}/update/documents", lambda it: it["current"]["state"].get("reported") == {"speed": 3})
    check("what is so goes up", bool(document), document)

    # While the hub is gone the edge node goes on; what was wanted before the kill is wanted after it.
    hub.kill()
    device.publish(f"{SHADOW}/update", {"state": {"reported": {"speed": 4, "hot": True}}})
    app.leave()
    edge.kill()
    hub = Hub(hub_data, ("listen.mqtt=127.0.0.1:18849",))
    app = Client(hub.port, "panel", "panel", user["secret"])
    app.subscribe(f"{SPIN}/result")
    app.publish(f"{SPIN}/invoke", {"id": "waits", "input": 7, "timeout_ms": 60000})
    app.publish(f"{SHADOW}/update", {"state": {"desired": {"speed": 9}}})
    device.leave()
    edge = edge_of(hub, edge_data, secret)
    device = Client(edge.port, "fan", "fan", thing["secret"])
    device.subscribe(f"{SPIN}/request")
    request = answer(device)
    check("a command that waited at the hub is handed over", bool(request) and request["input"] == 7, request)
    result = app.wait_for(f"{SPIN}/result", lambda it: it["id"] == "waits")
    check("and ends as the device says", bool(result) and result["status"] == "succeeded", result)
    expected = {"desired": {"speed": 9}, "reported": {"speed": 4, "hot": True}}
    for where, node in (("hub", hub), ("edge node", edge)):
        found = until(
            lambda node=node: node.ctl("shadows", "get", "thing=fan"),
            lambda it: {name: it["state"][name] for name in expected} == expected,
        )
        check(f"the {where} has what both have said", bool(found), found)
    device.leave()
    offline = until(lambda: hub.ctl("things", "get", "thing=fan"), lambda it: it["state"] == "offline")
    check("the hub knows that the device is gone", bool(offline), offline)
    check("SIGTERM ends the edge node with 0", edge.end(15) == 0, "".join(edge.lines[-5:]))
    check("SIGTERM ends the hub with 0", hub.end(15) == 0, "".join(hub.lines[-5:]))


with tempfile.TemporaryDirectory() as hub_data, tempfile.TemporaryDirectory() as edge_data:
    main(hub_data, edge_data)
finish()
