"""Devices of paho-mqtt behind mosquitto, as values of the namespace."""

import json
import tempfile
import time

import paho.mqtt.client as mqtt

from checks import check, finish
from hub import PATIENCE_SECS, SECRET, Client, Hub
from mosquitto import Mosquitto

DOCUMENT = {"temperature": 21.5, "ts": "2025-11-20T21:00:00.5+01:00"}


class Lamp:
    """A lamp that speaks as zigbee2mqtt has its lamps speak."""

    def __init__(self, port):
        self.paho = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="lamp")
        self.paho.on_connect = lambda client, *_: client.subscribe("z/lamp/set", qos=1)
        self.paho.on_message = self._told
        self.paho.connect("127.0.0.1", port)
        self.paho.loop_start()

    def _told(self, client, _user, message):
        client.publish("z/lamp", message.payload, qos=1)

    def say(self, topic, payload):
        self.paho.publish(topic, payload, qos=1).wait_for_publish(PATIENCE_SECS)


def tags(name):
    path = f"acme/{name}/_raw"
    return [
        {"tag": "temperature", "address": "z/kitchen#$.temperature", "unit": "Cel", "path": f"{path}/temperature"},
        {
            "tag": "lamp",
            "address": "z/lamp#$.state -> z/lamp/set#$.state",
            "access": "read_write",
            "path": f"{path}/lamp",
        },
        {"tag": "level", "address": "node/up#bytes:1", "type": "uint16", "publish": "always", "path": f"{path}/level"},
    ]


def driver(hub, far, version):
    name = f"v{version.replace('.', '')}"
    broker = {"url": f"mqtt://127.0.0.1:{far.port}", "client_id": name, "version": version}
    config = {"protocol": "mqtt", "broker": broker, "time": {"path": "$.ts", "unit": "rfc3339"}}
    hub.ctl("drivers", "create", f"driver={name}", f"config={json.dumps(config)}")
    hub.ctl("tags", "create", f"driver={name}", f"tags={json.dumps(tags(name))}")
    deadline = time.monotonic() + PATIENCE_SECS
    while time.monotonic() < deadline:
        status = hub.ctl("drivers", "get", f"driver={name}")["status"]
        if status["state"] == "running" and status["counters"]["connects"] > 0:
            return name
        time.sleep(0.05)
    raise RuntimeError(f"{name} does not run: {status}")


def lived(hub, far, lamp, version):
    name = driver(hub, far, version)
    raw = f"uns/acme/{name}/_raw"
    app = Client(hub.port, f"app-{name}", "admin", SECRET, expiry_secs=600)
    app.subscribe(f"{raw}/+")
    lamp.say("z/kitchen", json.dumps(DOCUMENT))
    value = app.wait_for(f"{raw}/temperature")
    is_it = bool(value) and value["v"] == 21.5 and value["t"] == 1763668800500 and value["u"] == "Cel"
    check(f"{version}: a document is a value with its time", is_it, value)
    lamp.say("node/up", bytes([0, 0x12, 0x34]))
    value = app.wait_for(f"{raw}/level")
    check(f"{version}: bytes are a value", bool(value) and value["v"] == 0x1234, value)
    written = hub.ctl("tags", "write", f"driver={name}", "tag=lamp", "v=ON", "verify=true")
    check(f"{version}: a write is confirmed by the device", written["v"] == "ON", written)
    value = app.wait_for(f"{raw}/lamp")
    check(f"{version}: and is a value", bool(value) and value["v"] == "ON", value)
    found = hub.ctl("drivers", "browse", f"driver={name}", "below=z/#")
    check(f"{version}: what is not retained and silent is not found", found["items"] == [], found)
    return name


def awake(hub, far, lamp, names):
    """What is said while mosquitto and then the node are away."""
    far.stop()
    for name in names:
        deadline = time.monotonic() + PATIENCE_SECS
        state = None
        while state != "connecting" and time.monotonic() < deadline:
            state = hub.ctl("drivers", "get", f"driver={name}")["status"]["state"]
            time.sleep(0.05)
        check(f"{name}: mosquitto is missed", state == "connecting", state)
    far.start()
    hub.kill()
    deadline = time.monotonic() + PATIENCE_SECS
    while not lamp.paho.is_connected() and time.monotonic() < deadline:
        time.sleep(0.05)
    for number in range(100, 105):
        lamp.say("node/up", bytes([0, 0, number]))


def main(data, far_data):
    far, hub = Mosquitto(far_data), Hub(data)
    lamp = Lamp(far.port)
    names = [lived(hub, far, lamp, version) for version in ("5", "3.1.1")]
    awake(hub, far, lamp, names)
    hub = Hub(data)
    for name in names:
        app = Client(hub.port, f"app-{name}", "admin", SECRET, expiry_secs=600)
        topic = f"uns/acme/{name}/_raw/level"
        missing = set(range(100, 105))
        deadline = time.monotonic() + PATIENCE_SECS
        while missing and time.monotonic() < deadline:
            value = app.wait_for(topic)
            missing.discard(value and value["v"])
        check(f"{name}: what was said while the node was away has come", not missing, missing)
    hub.kill()
    far.stop()
    finish()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as own, tempfile.TemporaryDirectory() as other:
        main(own, other)
