"""A tank, served by asyncua on one side and seen through the namespace on the other: trust, users, subscriptions that
come back, namespaces that move."""

import datetime
import ipaddress
import json
import queue
import re
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from asyncua.sync import Client as OpcUaClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from checks import check, finish
from hub import SECRET, Client, Hub, Process

TANK = "urn:manifold:peers:tank"
LEVEL = "uns/acme/tank/_raw/level"
SETPOINT = "uns/acme/tank/_raw/setpoint"
ELEMENT = "uns/acme/tank/_raw/element"
TABLE = "uns/acme/tank/_raw/table"
BATCH = "uns/acme/tank/_raw/batch"
FILL = "uns/acme/tank/_raw/fill"
EVENTS = "uns/acme/tank/_event/plc"
SEVERE = "uns/acme/tank/_event/severe"

# By then a machine that is back has to be good again.
BACK_SECS = 10


def named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def certificate(directory, name, uri, plant=None):
    """An application's certificate in DER, and its key in PEM; both in PEM as texts. Signed by itself, or by the key of
    the authority of a plant."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.UniformResourceIdentifier(uri), x509.DNSName("localhost")]
    names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    made = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named("plant" if plant else name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .sign(plant or key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (directory / f"{name}.der").write_bytes(made.public_bytes(serialization.Encoding.DER))
    (directory / f"{name}.pem").write_bytes(pem)
    fingerprint = made.fingerprint(hashes.SHA256()).hex()
    return fingerprint, made.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()


def authority():
    """The certificate of a plant's authority in PEM, and its key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(named("plant"))
        .issuer_name(named("plant"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), key


def revocations(key, serials):
    """What the authority has taken back, in PEM."""
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateRevocationListBuilder().issuer_name(named("plant")).last_update(now)
    made = made.next_update(now + datetime.timedelta(days=30))
    made = made.add_extension(x509.CRLNumber(1), critical=False)
    made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    for serial in serials:
        taken = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        made = made.add_revoked_certificate(taken)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def serve(directory, port, others):
    server = Process([sys.executable, "tests/peers/opcua_server.py", str(directory), str(port), str(others)])
    server.find(r"listening on (\d+)")
    return server


class Proxy:
    """Between a client and a server, so that their connection can be cut while both go on."""

    def __init__(self, port):
        self.to, self.is_open, self.sockets = port, True, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self.to)) if self.is_open else None
            except OSError:
                server = None
            if server is None:
                client.close()
                continue
            self.sockets += [client, server]
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    @staticmethod
    def _carry(source, sink):
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        self.is_open = False
        for end in self.sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.sockets = []


def refusal(hub, *words):
    try:
        hub.ctl(*words)
    except RuntimeError as error:
        return str(error)
    return None


def policies(hub, url, trusted, user):
    """Every policy connects."""
    operator = ("config.user.name=operator", "config.user.secret=tank-7")
    certified = (f"config.user.certificate={user[1]}", f"config.user.key={user[2]}")
    for policy, mode, token in (
        ("none", "sign", ()),
        ("basic256_sha256", "sign", ()),
        ("basic256_sha256", "sign_and_encrypt", operator),
        ("aes128_sha256_rsa_oaep", "sign_and_encrypt", operator),
        ("aes256_sha256_rsa_pss", "sign_and_encrypt", operator),
        ("basic256_sha256", "sign_and_encrypt", certified),
    ):
        words = ["config.protocol=opcua", f"config.url={url}", f'config.trusted=["{trusted}"]']
        words += [f"config.security_policy={policy}", f"config.security_mode={mode}", *token]
        told, why = None, None
        try:
            told = hub.ctl("drivers", "test", *words)
        except RuntimeError as error:
            why = str(error)
        kind = "a name" if token == operator else "a certificate" if token else "nobody"
        check(f"{policy} {mode} as {kind}", bool(told) and told["connected"], why)
    wrong = ("config.user.name=operator", "config.user.secret=wrong", f'config.trusted=["{trusted}"]')
    said = refusal(hub, "drivers", "test", "config.protocol=opcua", f"config.url={url}", *wrong)
    check("a wrong secret is told", "does not take this user" in (said or ""), said)


def trust_list(hub):
    """Operators approve and reject servers, and take the word of an authority."""
    with tempfile.TemporaryDirectory() as files:
        directory = Path(files)
        plant, key = authority()
        shown, pem, _ = certificate(directory, "server", "urn:manifold:peers:server", key)
        certificate(directory, "user", "urn:manifold:peers:user")
        port = free_port()
        server = serve(directory, port, 0)
        words = ("config.protocol=opcua", f"config.url=opc.tcp://127.0.0.1:{port}/plant/")
        said = refusal(hub, "drivers", "test", *words)
        pending = hub.ctl("server_certificates", "list", "filter=pending")["items"]
        found = [it for it in pending if it["fingerprint"] == shown]
        check("a server waits for an operator", found and found[0]["issuer"] == "CN=plant", (said, pending))
        hub.ctl("server_certificates", "approve", f"fingerprint={shown}", "description=compared")
        check("one that is approved connects", hub.ctl("drivers", "test", *words)["connected"])
        hub.ctl("server_certificates", "reject", f"fingerprint={shown}")
        said = refusal(hub, "drivers", "test", *words, f'config.trusted=["{shown}"]')
        check("one that is rejected does not", "has been rejected" in (said or ""), said)
        hub.ctl("server_certificates", "delete", f"fingerprint={shown}")

        word = (f"certificate={plant}", "authority=true")
        hub.ctl("server_certificates", "approve", *word)
        check("an authority vouches for it", hub.ctl("drivers", "test", *words)["connected"])
        serial = x509.load_pem_x509_certificate(pem.encode()).serial_number
        hub.ctl("server_certificates", "approve", *word, f"revoked={revocations(key, [serial + 1])}")
        check("another was taken back", hub.ctl("drivers", "test", *words)["connected"])
        hub.ctl("server_certificates", "approve", *word, f"revoked={revocations(key, [serial])}")
        said = refusal(hub, "drivers", "test", *words)
        check("until it takes it back", "has been taken back" in (said or ""), said)
        server.end(9)


def values(app, hub, url):
    """Values come by themselves, are written, and are what asyncua says."""
    first = app.wait_for(LEVEL, lambda value: value["q"] == "good")
    later = app.wait_for(LEVEL, lambda value: first and value["v"] > first["v"] + 10)
    check("a value that changes is pushed", bool(later), (first, later))
    lag_ms = abs(time.time() * 1000 - later["t"]) if later else None
    check("its time is that of the source", later and lag_ms < 5000, lag_ms)
    element = hub.ctl("tags", "get", "driver=tank", "tag=element")["value"]
    check("one element of an array is a value", element and element["v"] == 20, element)
    hub.ctl("tags", "write", "driver=tank", "tag=setpoint", "v=45.5", "verify=true")
    # asyncua takes one element for the whole array.
    said = refusal(hub, "tags", "write", "driver=tank", "tag=element", "v=21")
    check("a write that would cut the array is refused", "not written" in (said or ""), said)
    with OpcUaClient(url) as asyncua:
        index = asyncua.get_namespace_index(TANK)
        held = asyncua.get_node(f"ns={index};s=Setpoint").read_value()
        check("asyncua has what was written", held == 455, held)
        held = asyncua.get_node(f"ns={index};s=Table").read_value()
        check("the array is whole", held == [10, 20, 30], held)
    value = app.wait_for(SETPOINT, lambda value: value["v"] == 45.5)
    check("what was written is pushed back", bool(value), value)
    found = hub.ctl("drivers", "browse", "driver=tank", f"below=nsu={TANK};s=Tank")["items"]
    names = [(it["name"], it.get("type")) for it in found]
    expected = [("Level", "Double"), ("Setpoint", "Int16"), ("Table", "Int64"), ("Fill", None)]
    of_type = [it for it in names if it[0] == "Batch" and it[1].startswith("ns=")]
    check("a browse shows names and types", [it for it in names if it[0] != "Batch"] == expected and of_type, names)


def structures(app, hub, url):
    """Arrays and structures are values, and are written as a whole; several tags at once, each for itself."""
    app.publish(f"{TABLE}/set", {"v": [5, 6], "id": 1})
    answer = app.wait_for(f"{TABLE}/set/result")
    check("an array is written by a topic", answer and answer["v"] == [5, 6], answer)
    value = app.wait_for(TABLE, lambda value: value["v"] == [5, 6])
    check("and pushed back", bool(value), value)
    first = hub.ctl("tags", "get", "driver=tank", "tag=batch")["value"]
    expected = {"Number": 7, "Amounts": [1.5, 2.5], "Limits": {"Low": 0.0, "High": 80.0}, "Steps": [{"Name": "heat"}]}
    check("a structure of asyncua is a value", first and first["v"] == expected, first)
    changed = {**expected, "Number": 8, "Amounts": [], "Steps": [{"Name": "stir", "Seconds": 2.5}, {"Name": "cool"}]}
    values = json.dumps({"batch": changed, "setpoint": 12.5, "level": 1})
    told = hub.ctl("tags", "write", "driver=tank", f"values={values}", "verify=true")["results"]
    told = {it["tag"]: it.get("v", it.get("error", {}).get("code")) for it in told}
    check("several tags are written, each for itself", told == {"batch": changed, "setpoint": 12.5, "level": "forbidden"}, told)
    with OpcUaClient(url) as asyncua:
        asyncua.load_data_type_definitions()
        held = asyncua.get_node(f"ns={asyncua.get_namespace_index(TANK)};s=Batch").read_value()
        steps = [(step.Name, step.Seconds) for step in held.Steps]
        check("asyncua has the structure", (held.Number, held.Limits.High, steps) == (8, 80.0, [("stir", 2.5), ("cool", None)]), held)
    value = app.wait_for(BATCH, lambda value: value["v"]["Number"] == 8)
    check("what was written is pushed back as a structure", value and value["v"] == changed, value)
    broken = json.dumps({**changed, "Limits": {"Low": "x", "High": 1}})
    said = refusal(hub, "tags", "write", "driver=tank", "tag=batch", f"v={broken}")
    check("a field that does not fit is named", 'Limits.Low: \\"x\\" is no Double' in (said or "") or 'Limits.Low: "x" is no Double' in (said or ""), said)
    hub.ctl("tags", "write", "driver=tank", 'values={"table": [10, 20, 30], "setpoint": 45.5}')
    app.wait_for(SETPOINT, lambda value: value["v"] == 45.5)


def failures(app, hub, server, directory, port):
    """It is killed, and comes back with its namespaces moved."""
    for others in (3, 0, 1):
        server.end(9)
        stale = app.wait_for(LEVEL, lambda value: value["q"] == "stale")
        check("a killed server is stale", bool(stale), stale)
        server = serve(directory, port, others)
        began = time.monotonic()
        good = app.wait_for(LEVEL, lambda value: value["q"] == "good")
        took = time.monotonic() - began
        check(f"it is back, with {others} other namespaces", bool(good) and took < BACK_SECS, took)
        later = app.wait_for(LEVEL, lambda value: good and value["v"] > good["v"] + 20)
        check("and goes on to change", bool(later), (good, later))
        batch = hub.ctl("tags", "get", "driver=tank", "tag=batch")["value"]
        is_there = batch["q"] == "good" and batch["v"]["Number"] == 7
        check("its structures are those of its namespace", is_there, batch)
    return server


def deadband(app, hub, url, words):
    """A server that is asked to leaves out what a deadband leaves out."""
    options = ("config.publishing_interval_ms=100", "config.server_deadband=true")
    hub.ctl("drivers", "create", "driver=damped", *options, *words)
    address, path = f"address=nsu={TANK};s=Setpoint", "path=acme/damped/_raw/setpoint"
    every = ("poll_interval_ms=50", "scale=0.1", "deadband=5")
    hub.ctl("tags", "create", "driver=damped", "tag=setpoint", address, path, *every)
    topic = "uns/acme/damped/_raw/setpoint"
    first = app.wait_for(topic, lambda value: value["q"] == "good")
    check("what is there at first comes", first and first["v"] == 45.5, first)
    for value in (46.5, 47.5, 70.5):
        hub.ctl("tags", "write", "driver=tank", "tag=setpoint", f"v={value}", "verify=true")
        app.wait_for(SETPOINT, lambda found, value=value: found["v"] == value)
    last = app.wait_for(topic, lambda value: value["v"] == 70.5)
    check("and what exceeds the deadband", bool(last), last)
    # The figures of a driver are told from time to time.
    told, until = 0, time.monotonic() + 20
    while told < 2 and time.monotonic() < until:
        time.sleep(0.5)
        told = hub.ctl("drivers", "get", "driver=damped")["status"]["counters"]["points_read"]
    check("asyncua has left out what does not", told == 2, told)
    hub.ctl("drivers", "delete", "driver=damped")


def methods_and_events(app, hub, words):
    """A method is called by a topic and by an operator, and what it does is told as an event."""
    hub.ctl("drivers", "create", "driver=severe", "config.event_severity_min=700", *words)
    hub.ctl("tags", "create", "driver=severe", "tag=plc", "kind=events", "address=i=2253", f"path={SEVERE[4:]}")
    until = time.monotonic() + 20
    while hub.ctl("drivers", "get", "driver=severe")["status"]["state"] != "running" and time.monotonic() < until:
        time.sleep(0.2)
    app.publish(f"{FILL}/set", {"v": [30.0, "by topic"], "id": 1})
    answer = app.wait_for(f"{FILL}/set/result")
    check("a method is called by a topic", answer and answer["v"] == [20.0], answer)
    event = app.wait_for(EVENTS)
    said = event and (event["level"], event["data"]["message"], event["data"]["source"], event["retained"])
    check("its event is told", said == ("warning", "filled to 30.0: by topic", "Tank", False), event)
    check("and has a field of its own", event and event["data"].get("batch") == 7, event)
    lag_ms = event and abs(time.time() * 1000 - event["t"])
    check("with its time", event and lag_ms < 5000, lag_ms)
    app.publish(f"{FILL}/set", {"v": {"to": "much", "note": ""}, "id": 2})
    answer = app.wait_for(f"{FILL}/set/result")
    field = answer and answer["error"].get("field")
    check("an argument that does not fit is named", field == "to", answer)
    method = f"method=nsu={TANK};s=Fill"
    said = refusal(hub, "drivers", "call", "driver=tank", method, "input=[101, 0]")
    check("an operator's too", "0 is no String" in (said or ""), said)
    said = refusal(hub, "drivers", "call", "driver=tank", method, 'input=[101, "x"]')
    check("what the server refuses is told", "BadOutOfRange" in (said or ""), said)
    output = hub.ctl("drivers", "call", "driver=tank", method, 'input=[100, "by hand"]')
    check("an operator calls it", output == {"output": [30.0]}, output)
    app.wait_for(EVENTS, lambda event: "by hand" in event["data"]["message"])
    event = app.wait_for(EVENTS)
    condition = event and event["data"].get("condition")
    expected = {
        "id": f"nsu={TANK};s=TankFull", "name": "Full", "retain": True, "active": True, "acknowledged": False,
    }
    check("an alarm has its state", condition == expected, event)
    told = hub.ctl("drivers", "get", "driver=severe")["status"]["counters"]["events"]
    until = time.monotonic() + 20
    while told < 1 and time.monotonic() < until:
        time.sleep(0.5)
        told = hub.ctl("drivers", "get", "driver=severe")["status"]["counters"]["events"]
    check("of little severity none is told to whom that is too little", told == 1, told)
    hub.ctl("drivers", "delete", "driver=severe")
    check("and is an error of its type", event and (event["level"], event["data"]["type"]) == ("error", "AlarmConditionType"), event)


def history(app, proxy, url):
    """The connection is cut while the server counts: afterwards not one count is missing, and none is there twice."""
    last = app.wait_for(LEVEL, lambda value: value["q"] == "good")
    proxy.cut()
    stale = app.wait_for(LEVEL, lambda value: value["q"] == "stale")
    time.sleep(3)
    proxy.is_open = True
    back = app.wait_for(LEVEL, lambda value: value["q"] == "good")
    check("it is back", bool(stale) and bool(back), back)
    # The last good value before is that of the stale one.
    before, after = stale["v"], back["v"]
    found, deadline = [], time.monotonic() + 15
    while len(found) < after - before - 1 and time.monotonic() < deadline:
        try:
            message = app.messages.get(timeout=1)
        except queue.Empty:
            continue
        properties = dict(getattr(message.properties, "UserProperty", []))
        if message.topic == LEVEL and properties.get("historical") == "true":
            value = json.loads(message.payload)
            found.append((value["v"], value["t"], value["q"], message.retain))
    counts = [value[0] for value in found]
    missed = list(range(int(before) + 1, int(after)))
    check(f"all {len(missed)} values of the time between come, each once, in order", counts == missed, (before, after, counts))
    times = [value[1] for value in found]
    check("with their times", times == sorted(times) and all(stale["t"] < it < back["t"] for it in times), times[:3])
    check("good, and not retained", all(value[2:] == ("good", False) for value in found), found[:3])
    with OpcUaClient(url) as asyncua:
        index = asyncua.get_namespace_index(TANK)
        level = asyncua.get_node(f"ns={index};s=Level")
        moment = lambda ms: datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc).replace(tzinfo=None)
        kept = level.read_raw_history(moment(stale["t"] + 1), moment(back["t"] - 1))
        check("asyncua has kept the same", [value.Value.Value for value in kept] == counts, len(kept))
    check("a value of the past takes nothing back", last["v"] <= before < after, (last, before, after))


def main(data, directory):
    trusted = certificate(directory, "server", "urn:manifold:peers:server")[0]
    user = certificate(directory, "user", "urn:manifold:peers:user")
    port = free_port()
    server = serve(directory, port, 0)
    proxy = Proxy(port)
    url = f"opc.tcp://127.0.0.1:{proxy.port}/plant/"
    hub = Hub(data)
    said = refusal(hub, "drivers", "test", "config.protocol=opcua", f"config.url={url}")
    shown = re.search(r"SHA-256 ([0-9a-f]{64})", said or "")
    check("a server that nobody trusts shows its certificate", shown and shown[1] == trusted, said)
    found = hub.ctl("drivers", "discover", "config.protocol=opcua", f"config.url={url}")["items"]
    ways = {(it["security_policy"], it["security_mode"]) for it in found[0]["endpoints"]}
    shown = {it["certificate"]["sha256"] for it in found[0]["endpoints"] if "certificate" in it}
    check("it is discovered with its endpoints", len(ways) == 5 and shown == {trusted}, found)
    policies(hub, url, trusted, user)
    trust_list(hub)

    words = ("config.protocol=opcua", f"config.url={url}", f'config.trusted=["{trusted}"]')
    operator = ("config.user.name=operator", "config.user.secret=tank-7")
    fields = f'config.event_fields={{"batch": "nsu={TANK};Batch"}}'
    hub.ctl("drivers", "create", "driver=tank", "config.publishing_interval_ms=100", fields, *words, *operator)
    app = Client(hub.port, "app", "admin", SECRET)
    app.subscribe("uns/acme/#")
    every = ("driver=tank", "poll_interval_ms=50")
    hub.ctl("tags", "create", *every, "tag=level", f"address=nsu={TANK};s=Level", f"path={LEVEL[4:]}")
    write = ("access=read_write", "scale=0.1", f"path={SETPOINT[4:]}")
    hub.ctl("tags", "create", *every, "tag=setpoint", f"address=nsu={TANK};s=Setpoint", *write)
    write = ("access=read_write", f"path={ELEMENT[4:]}")
    hub.ctl("tags", "create", *every, "tag=element", f"address=nsu={TANK};s=Table [1]", *write)
    write = ("access=read_write", f"path={TABLE[4:]}")
    hub.ctl("tags", "create", *every, "tag=table", f"address=nsu={TANK};s=Table", *write)
    write = ("access=read_write", f"path={BATCH[4:]}")
    hub.ctl("tags", "create", *every, "tag=batch", f"address=nsu={TANK};s=Batch", *write)
    hub.ctl("tags", "create", "driver=tank", "tag=fill", "kind=method", f"address=nsu={TANK};s=Fill", f"path={FILL[4:]}")
    hub.ctl("tags", "create", "driver=tank", "tag=plc", "kind=events", "address=i=2253", f"path={EVENTS[4:]}")
    values(app, hub, url)
    structures(app, hub, url)
    deadband(app, hub, url, (*words, *operator))
    methods_and_events(app, hub, (*words, *operator))
    history(app, proxy, url)
    server = failures(app, hub, server, directory, port)
    shown = hub.ctl("drivers", "get", "driver=tank")
    hidden = "tank-7" not in str(shown) and shown["config"]["user"]["has_secret"] is True
    check("no secret is shown", hidden, shown)
    server.end(9)
    check("SIGTERM ends with 0", hub.end(15) == 0, "".join(hub.lines[-5:]))


with tempfile.TemporaryDirectory() as node, tempfile.TemporaryDirectory() as files:
    main(node, Path(files))
finish()
