"""Machines of pymodbus over every line: TCP, the frames of a serial line over TCP, in binary and in ASCII, and a serial
line itself, which is a pair of pseudo-terminals."""

import json
import os
import pty
import socket
import sys
import tempfile
import threading
import time
import tty

from checks import check, finish
from hub import PATIENCE_SECS, SECRET, Client, Hub, Process

TAGS = 5
# By then a machine that is back has to be good again.
BACK_SECS = 10


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def serve(kind, where):
    server = Process([sys.executable, "tests/peers/modbus_server.py", kind, str(where)])
    server.find(r"listening on (\S+)")
    return server


def serial_line():
    """Two devices, each end of one line."""
    masters, devices = [], []
    for _ in range(2):
        master, slave = pty.openpty()
        tty.setraw(slave)
        masters.append(master)
        devices.append(os.ttyname(slave))

    def carry(source, sink):
        while True:
            try:
                os.write(sink, os.read(source, 4096))
            except OSError:
                # Nobody has the device open just now.
                time.sleep(0.05)

    for source, sink in (masters, reversed(masters)):
        threading.Thread(target=carry, args=(source, sink), daemon=True).start()
    return devices


def story(hub, app, kind, where, config):
    """Values, a write, who it is, and a machine that is killed and comes back."""
    server = serve(kind, where)
    told, why = None, None
    try:
        told = hub.ctl("drivers", "test", *config)
    except RuntimeError as error:
        why = str(error)
    identity = told and told["identity"]
    check(f"{kind}: says who it is", identity and identity.get("maker") == "Acme", identity or why)
    hub.ctl("drivers", "create", f"driver={kind}", *config)
    path = f"acme/{kind}/_raw"
    app.subscribe(f"uns/{path}/#")
    every = (f"driver={kind}", "type=uint16", "poll_interval_ms=100", "access=read_write")
    for number in range(TAGS):
        words = (f"tag=r{number}", f"address=holding:{number}", f"path={path}/r{number}")
        hub.ctl("tags", "create", *every, *words)
    last = f"uns/{path}/r{TAGS - 1}"
    value = app.wait_for(last, lambda value: value["v"] == 1000 + TAGS - 1 and value["q"] == "good")
    check(f"{kind}: registers are values", bool(value), value)
    done = hub.ctl("tags", "write", f"driver={kind}", "values.r0=7", "values.r1=8", "verify=true")
    check(f"{kind}: several are written and verified", done["written"] == 2, done)
    read = hub.ctl("tags", "read", f"driver={kind}", 'tags=["r0","r1"]')["values"]
    check(f"{kind}: and read", [it["v"] for it in read] == [7, 8], read)
    functions(hub, kind, config)
    server.end(9)
    value = app.wait_for(last, lambda value: value["q"] == "stale")
    check(f"{kind}: a killed machine is stale", bool(value), value)
    server = serve(kind, where)
    began = time.monotonic()
    value = app.wait_for(last, lambda value: value["q"] == "good")
    took = time.monotonic() - began
    check(f"{kind}: and good when it is back", bool(value) and took < BACK_SECS, took)
    hub.ctl("drivers", "delete", f"driver={kind}")
    server.end(9)


def functions(hub, kind, config):
    """Arrays, the exception status, writing and reading at once, and functions that no tag has."""
    name = f"more-{kind}"
    hub.ctl("drivers", "create", f"driver={name}", *config, "config.write_and_read=true")
    # pymodbus does not hear what is so short in ASCII.
    is_heard = kind != "ascii"
    status = "exception_status" if is_heard else "holding:50.0-7"
    for tag, address, data_type, access in (
        ("row", "holding:40[4]", "int16", "read_write"),
        ("coils", "coil:3[10]", "bool", "read_write"),
        ("status", status, "uint8", "read"),
    ):
        words = (f"tag={tag}", f"address={address}", f"type={data_type}", f"access={access}")
        hub.ctl("tags", "create", f"driver={name}", *words, f"path=acme/{name}/_raw/{tag}")
    row, coils = [1, -2, 300, 4], [True, False] * 5
    values = json.dumps({"row": row, "coils": coils})
    done = hub.ctl("tags", "write", f"driver={name}", f"values={values}", "verify=true")
    check(f"{kind}: arrays are written and verified, by one request where that is asked for", done["written"] == 2, done)
    read = hub.ctl("tags", "read", f"driver={name}", 'tags=["row","coils","status"]')["values"]
    read = [it.get("v") for it in read]
    check(f"{kind}: and read, with the exception status", read[:2] == [row, coils] and isinstance(read[2], int), read)
    said = hub.ctl("drivers", "call", f"driver={name}", "method=8", 'input="0000A5C3"')
    check(f"{kind}: any function is sent by an operator", said == {"output": ["0000A5C3"]}, said)
    if is_heard:
        told = hub.ctl("drivers", "call", f"driver={name}", "method=0x11")["output"][0]
        check(f"{kind}: such as that for the server id", bytes.fromhex(told)[-1:] == b"\xff", told)
    hub.ctl("drivers", "delete", f"driver={name}")


def neighbours(hub, app, port, far):
    """Two units on one line, and one that is not there."""
    server = serve("serial", far)
    for unit in (1, 2, 3):
        name = f"unit{unit}"
        config = ("config.protocol=modbus_serial", f"config.port={port}", "config.parity=none")
        timing = (f"config.unit_id={unit}", "config.timeout_ms=300")
        hub.ctl("drivers", "create", f"driver={name}", *config, *timing)
        path = f"acme/{name}/_raw/r0"
        app.subscribe(f"uns/{path}")
        tag = ("tag=r0", "address=holding:0", "type=uint16", "poll_interval_ms=100", "publish=always")
        hub.ctl("tags", "create", f"driver={name}", f"path={path}", *tag)
    for unit in (1, 2):
        value = app.wait_for(f"uns/acme/unit{unit}/_raw/r0", lambda value: value["q"] == "good")
        check(f"unit {unit} of one line has its own values", value and value["v"] == unit * 1000, value)
    lost = None
    deadline = time.monotonic() + PATIENCE_SECS
    while lost is None and time.monotonic() < deadline:
        status = hub.ctl("drivers", "get", "driver=unit3")["status"]
        lost = status.get("reason")
        time.sleep(0.05)
    # pymodbus answers for units that it does not have, as a gateway does.
    check("the one that is not there is missed", lost and "of unit 3: the gateway cannot" in lost, lost)
    for unit in (1, 2):
        status = hub.ctl("drivers", "get", f"driver=unit{unit}")["status"]
        is_well = status["state"] == "running" and status["counters"]["timeouts"] == 0
        check(f"unit {unit} does not suffer from it", is_well, status)
        hub.ctl("drivers", "delete", f"driver=unit{unit}")
    hub.ctl("drivers", "delete", "driver=unit3")
    server.end(9)


def main(data):
    hub = Hub(data)
    app = Client(hub.port, "app", "admin", SECRET)
    for kind in ("tcp", "rtu", "ascii"):
        port = free_port()
        config = ("config.protocol=modbus_tcp", f"config.address=127.0.0.1:{port}")
        story(hub, app, kind, port, (*config, f"config.framing={kind}"))
    near, far = serial_line()
    # A pseudo-terminal has no parity.
    config = ("config.protocol=modbus_serial", f"config.port={near}", "config.parity=none")
    story(hub, app, "serial", far, config)
    neighbours(hub, app, near, far)
    check("SIGTERM ends with 0", hub.end(15) == 0, "".join(hub.lines[-5:]))


with tempfile.TemporaryDirectory() as directory:
    main(directory)
finish()
