"""The plant, written by pymodbus on one side and through the namespace on the other."""

import tempfile
import time

from pymodbus.client import ModbusTcpClient

from checks import check, finish
from hub import SECRET, Client, Hub, Plant

SETPOINT = "uns/acme/berlin/valve1/_raw/position_setpoint"
POLL_INTERVAL_SECS = 0.5

# What a busy machine may add before a bound that is meant is called broken.
SLACK_SECS = 1.0


def connect(hub, plant):
    config = ("config.protocol=modbus_tcp", f"config.address={plant.address}")
    hub.ctl("drivers", "create", "driver=plant", *config)
    interval = f"poll_interval_ms={int(POLL_INTERVAL_SECS * 1000)}"
    tag = ("address=holding:0", "type=uint16", "scale=0.1", "access=read_write", "unit=%", interval)
    path = "path=" + SETPOINT.removeprefix("uns/")
    hub.ctl("tags", "create", "driver=plant", "tag=setpoint", *tag, path)


def write_register(plant, value):
    host, port = plant.address.rsplit(":", 1)
    with ModbusTcpClient(host, port=int(port)) as machine:
        return not machine.write_register(0, value).isError()


def read_register(plant):
    host, port = plant.address.rsplit(":", 1)
    with ModbusTcpClient(host, port=int(port)) as machine:
        return machine.read_holding_registers(0, count=1).registers[0]


def main(data):
    hub, plant = Hub(data), Plant()
    connect(hub, plant)
    app = Client(hub.port, "app", "admin", SECRET)
    app.subscribe("uns/acme/#")
    value = app.wait_for(SETPOINT, lambda value: value["q"] == "good")
    check("a register appears as a value", bool(value) and value["u"] == "%", value)

    began = time.monotonic()
    check("pymodbus writes the register", write_register(plant, 333))
    value = app.wait_for(SETPOINT, lambda value: abs(value["v"] - 33.3) < 1e-6)
    took = time.monotonic() - began
    soon = bool(value) and took < POLL_INTERVAL_SECS + SLACK_SECS
    check("its value follows within the poll interval", soon, (value, took))
    late = Client(hub.port, "late", "admin", SECRET)
    late.subscribe(SETPOINT)
    value = late.wait_for(SETPOINT)
    kept = bool(value) and value["retained"] and abs(value["v"] - 33.3) < 1e-6
    check("the value is retained", kept, value)

    app.subscribe(f"{SETPOINT}/set/result")
    app.publish(f"{SETPOINT}/set", {"v": 25, "id": "w1", "verify": True})
    result = app.wait_for(f"{SETPOINT}/set/result")
    check("the set topic answers", bool(result) and result["ok"] and result["id"] == "w1", result)
    seen = read_register(plant)
    check("the set topic changes the register", seen == 250, seen)

    began = time.monotonic()
    plant.kill()
    value = app.wait_for(SETPOINT, lambda value: value["q"] == "stale")
    took = time.monotonic() - began
    soon = bool(value) and took < 2 * POLL_INTERVAL_SECS + SLACK_SECS
    check("a stopped plant is stale within two poll intervals", soon, (value, took))
    plant = Plant(plant.address)
    value = app.wait_for(SETPOINT, lambda value: value["q"] == "good")
    check("a restarted plant is good again", bool(value), value)
    plant.kill()
    check("SIGTERM ends with 0", hub.end(15) == 0, "".join(hub.lines[-5:]))


with tempfile.TemporaryDirectory() as directory:
    main(directory)
finish()
