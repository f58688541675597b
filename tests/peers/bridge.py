"""Bridges to mosquitto as the remote broker, with MQTT 5.0 and 3.1.1, in the clear and over TLS."""

import json
import os
import queue
import subprocess
import tempfile
import time

import paho.mqtt.client as mqtt

from certificates import authority, issue
from checks import check, finish
from hub import PATIENCE_SECS, Client, Hub
from mosquitto import Mosquitto, free_port


def until(what, is_it):
    """The first value that is it."""
    deadline = time.monotonic() + PATIENCE_SECS
    while time.monotonic() < deadline:
        value = what()
        if is_it(value):
            return value
        time.sleep(0.05)
    return None


def payloads(client, last):
    """What comes, up to the last."""
    found = []
    while not found or found[-1][1] != last:
        try:
            message = client.messages.get(timeout=PATIENCE_SECS)
        except queue.Empty:
            return found
        found.append((message.topic, message.payload.decode(), message.retain))
    return found


def carried(hub, far, secret, version, rules):
    name = f"m{version.replace('.', '')}"
    remote = {"url": f"mqtt://127.0.0.1:{far.port}", "version": version}
    body = {"bridge": name, "remote": remote, "rules": rules}
    hub.ctl("bridges", "create", "--json-body", json.dumps(body))

    def status():
        return hub.ctl("bridges", "get", f"bridge={name}")["status"] or {}

    is_connected = lambda it: it.get("state") == "connected"
    check(f"{version}: the bridge connects", until(status, is_connected) is not None, status())

    near = Client(hub.port, f"near-{name}", "watcher", secret)
    there = Client(far.port, f"there-{name}", "u", "s", mqtt.MQTTv311)
    near.subscribe(f"{name}/down/#")
    there.subscribe(f"{name}/up/#")
    near.publish(f"{name}/up/a", 1)
    there.publish(f"{name}/down/a", 2)
    found = payloads(there, "1")
    check(f"{version}: out once", found == [(f"{name}/up/a", "1", False)], found)
    found = payloads(near, "2")
    check(f"{version}: in once", found == [(f"{name}/down/a", "2", False)], found)

    near.paho.publish(f"{name}/up/kept", "3", qos=1, retain=True).wait_for_publish(PATIENCE_SECS)
    payloads(there, "3")
    late = Client(far.port, f"late-{name}", "u", "s")
    late.subscribe(f"{name}/up/kept")
    found = payloads(late, "3")
    check(f"{version}: RETAIN goes along", found == [(f"{name}/up/kept", "3", True)], found)
    late.leave()
    there.leave()

    far.stop()
    until(status, lambda it: it.get("state") == "connecting")
    for number in range(100, 150):
        near.publish(f"{name}/up/b", number)
    waiting = status()
    check(f"{version}: what cannot go waits", waiting["out"]["queued"] == 50, waiting)
    far.start()
    there = Client(far.port, f"again-{name}", "u", "s", mqtt.MQTTv311)
    there.subscribe(f"{name}/up/b")
    near.publish(f"{name}/up/b", 150)
    found = [int(it[1]) for it in payloads(there, "150") if not it[2]]
    # What was delivered before this client subscribed is not for it; nothing is out of order.
    check(f"{version}: then it goes, in order", found == sorted(found) and found[-1] == 150, found)
    end = until(status, lambda it: it["out"]["queued"] == 0) or status()
    out, inward = end["out"], end["in"]
    given = out["restored"] + out["received"]
    gone = out["sent"] + out["queued"] + sum(out["dropped"].values())
    check(f"{version}: the accounts are balanced", given == gone == out["sent"], end)
    check(f"{version}: nothing has come back", inward["received"] == 1, end)
    near.leave()
    there.leave()
    hub.ctl("bridges", "delete", f"bridge={name}")


def read(path):
    with open(path, encoding="utf-8") as it:
        return it.read()


def by_certificates(hub, folder, secret, version):
    """A mosquitto that wants certificates: refused without one, told why, and put right."""
    right, wrong = os.path.join(folder, "right"), os.path.join(folder, "wrong")
    for name in (right, wrong):
        os.makedirs(name)
        authority(name)
        issue(name, "localhost", "subjectAltName=DNS:localhost")
        issue(name, "edge7")
    tls_port = free_port()
    served = os.path.join(folder, "served.crt"), os.path.join(folder, "served.key")

    def present(issuer):
        for path, kind in zip(served, ("crt", "key")):
            with open(path, "w", encoding="utf-8") as out:
                out.write(read(f"{issuer}/localhost.{kind}"))

    present(right)
    lines = [
        f"listener {tls_port} 127.0.0.1",
        f"cafile {right}/ca.crt",
        f"certfile {served[0]}",
        f"keyfile {served[1]}",
        "require_certificate true",
    ]
    far = Mosquitto(folder, lines)
    name = f"t{version.replace('.', '')}"
    there = Client(far.port, f"there-{name}", "u", "s")
    near = Client(hub.port, f"near-{name}", "watcher", secret)
    there.subscribe(f"{name}/up/#")
    near.subscribe(f"{name}/down/#")
    near.paho.publish(f"{name}/up/old", "0", qos=1, retain=True).wait_for_publish(PATIENCE_SECS)
    remote = {
        "url": f"mqtts://localhost:{tls_port}",
        "version": version,
        "tls": {"ca": read(f"{right}/ca.crt")},
    }
    rules = [
        {"direction": "out", "filter": f"{name}/up/#"},
        {"direction": "in", "filter": f"{name}/down/#"},
    ]
    body = {"bridge": name, "remote": remote, "rules": rules}
    hub.ctl("bridges", "create", "--json-body", json.dumps(body))

    def status():
        return hub.ctl("bridges", "get", f"bridge={name}")["status"] or {}

    def told(reason):
        return until(status, lambda it: reason in it.get("reason", "")) is not None

    def update(**tls):
        body = {"bridge": name, "remote": {"tls": tls}}
        hub.ctl("bridges", "update", "--json-body", json.dumps(body))

    is_connected = lambda it: it.get("state") == "connected"
    check(f"{version}: no certificate is told", told("wants a certificate"), status())
    update(certificate=read(f"{wrong}/edge7.crt"), key=read(f"{wrong}/edge7.key"))
    check(f"{version}: a wrong one is told", told("does not accept the certificate"), status())
    update(certificate=read(f"{right}/edge7.crt"), key=read(f"{right}/edge7.key"))
    check(f"{version}: TLS connects", until(status, is_connected) is not None, status())
    found = payloads(there, "0")
    check(f"{version}: what was retained comes", found == [(f"{name}/up/old", "0", False)], found)
    near.publish(f"{name}/up/a", 1)
    there.publish(f"{name}/down/a", 2)
    found = payloads(there, "1")
    check(f"{version}: out once by TLS", found == [(f"{name}/up/a", "1", False)], found)
    found = payloads(near, "2")
    check(f"{version}: in once by TLS", found == [(f"{name}/down/a", "2", False)], found)

    there.leave()
    far.stop()
    present(wrong)
    far.start()
    check(f"{version}: another authority is told", told("none of the authorities"), status())
    near.publish(f"{name}/up/a", 3)
    far.stop()
    present(right)
    far.start()
    check(f"{version}: it comes right by itself", until(status, is_connected) is not None, status())
    end = until(status, lambda it: it["out"]["sent"] == 3) or status()
    check(f"{version}: what waited is sent, the rest not again", end["out"]["sent"] == 3, end)
    near.leave()
    hub.ctl("bridges", "delete", f"bridge={name}")
    far.stop()


def main(data):
    hub = Hub(os.path.join(data, "hub"))
    far_data = os.path.join(data, "far")
    os.mkdir(far_data)
    far = Mosquitto(far_data)
    user = hub.ctl("users", "create", "user=watcher", "role=project_admin")
    carried(hub, far, user["secret"], "5", [{"direction": "both", "filter": "m5/#"}])
    rules = [
        {"direction": "out", "filter": "m311/up/#"},
        {"direction": "in", "filter": "m311/down/#"},
    ]
    carried(hub, far, user["secret"], "3.1.1", rules)
    far.stop()
    for version in ("5", "3.1.1"):
        by_certificates(hub, os.path.join(data, f"tls-{version}"), user["secret"], version)
    hub.kill()
    finish()


with tempfile.TemporaryDirectory() as folder:
    main(folder)
