"""A device and an application of paho-mqtt across `kill -9`."""

import tempfile

import paho.mqtt.client as mqtt

from checks import check, finish
from hub import Client, Hub

SHADOW = "things/boiler7/shadow"
VALUE = "uns/acme/berlin/boiler7/_raw/temperature"
EXPIRY_SECS = 3600


def shadow(app):
    app.publish(f"{SHADOW}/get", {})
    return app.wait_for(f"{SHADOW}/get/accepted")


def main(data):
    hub = Hub(data)
    thing = hub.ctl("things", "create", "thing=boiler7", "location=acme/berlin/boiler7")
    user = hub.ctl("users", "create", "user=watcher", "role=app")
    device_is = ("boiler7-1", "boiler7", thing["secret"], mqtt.MQTTv5, EXPIRY_SECS)

    device = Client(hub.port, *device_is)
    check("a new session is not present", device.session_present is False, device.session_present)
    device.subscribe(f"{SHADOW}/update/delta")
    device.publish("things/boiler7/telemetry", {"temperature": 71.5})
    device.publish(f"{SHADOW}/update", {"state": {"reported": {"setpoint": 60}}})
    device.leave()

    app = Client(hub.port, "app", "watcher", user["secret"])
    app.subscribe(f"{SHADOW}/#")
    app.publish(f"{SHADOW}/update", {"state": {"desired": {"setpoint": 80}}, "clientToken": "t1"})
    accepted = app.wait_for(f"{SHADOW}/update/accepted")
    check("a desired value is accepted", bool(accepted) and accepted["clientToken"] == "t1", accepted)
    before = shadow(app)
    check("the shadow has both sections", set(before["state"]) >= {"desired", "reported"}, before)
    app.leave()

    hub.kill()
    hub = Hub(data)

    device = Client(hub.port, *device_is)
    check("the session is present after kill -9", device.session_present is True, None)
    delta = device.wait_for(f"{SHADOW}/update/delta")
    check("the device receives the delta", bool(delta) and delta["state"] == {"setpoint": 80}, delta)
    for version, name in ((mqtt.MQTTv5, "5.0"), (mqtt.MQTTv311, "3.1.1")):
        app = Client(hub.port, f"app-{name}", "watcher", user["secret"], version)
        app.subscribe(f"{SHADOW}/get/accepted")
        after = shadow(app)
        same = bool(after) and after["version"] == before["version"]
        check(f"{name}: shadow/get gives the version of before", same, (before, after))
        app.subscribe("uns/#")
        value = app.wait_for(VALUE)
        kept = bool(value) and value["v"] == 71.5 and value["q"] == "good" and value["retained"]
        check(f"{name}: the retained value is there", kept, value)
        app.leave()
    device.leave()
    check("SIGTERM ends with 0", hub.end(15) == 0, "".join(hub.lines[-5:]))


with tempfile.TemporaryDirectory() as directory:
    main(directory)
finish()
