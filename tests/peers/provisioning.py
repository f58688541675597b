"""A device from the factory to its retirement, over TLS with paho-mqtt and keys made with `cryptography`: it registers
by an enrolment, has its certificates signed over MQTT, and comes in by them until they are taken back.

`MANIFOLD_BIN` names the executable.
"""

import json
import os
import queue
import ssl
import subprocess
import tempfile
import threading

import paho.mqtt.client as mqtt
from certificates import authority, issue
from checks import check, finish
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hub import PATIENCE_SECS, SECRET, Process


class Node(Process):
    """A node with TLS that asks for certificates, and vouches for them by the authorities of its projects alone."""

    def __init__(self, folder):
        command = [os.environ["MANIFOLD_BIN"], "serve", "--data", f"{folder}/data"]
        for setting in (
            "listen.mqtt=127.0.0.1:0",
            "listen.mqtts=127.0.0.1:0",
            "listen.ws=",
            "listen.http=",
            f"tls.certificate={folder}/localhost.crt",
            f"tls.key={folder}/localhost.key",
            "tls.client_auth=optional",
        ):
            command += ["--set", setting]
        super().__init__(command, {"MANIFOLD_ADMIN_SECRET": SECRET})
        self.plain = int(self.find(r'listener="mqtt" address=[\d.]+:(\d+)'))
        self.port = int(self.find(r'listener="mqtts" address=[\d.]+:(\d+)'))
        self.find(r"ready startup_ms=(\d+)")

    def ctl(self, *words):
        """The data of the answer to `manifold ctl`, or the code of the refusal."""
        env = {"MANIFOLD_URL": f"mqtt://127.0.0.1:{self.plain}", "MANIFOLD_SECRET": SECRET}
        command = [os.environ["MANIFOLD_BIN"], "ctl", *words, "--json"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_SECS)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr


class Key:
    """A private key of a device, and what is signed for it."""

    def __init__(self, folder, name):
        self.path = f"{folder}/{name}"
        self.key = ec.generate_private_key(ec.SECP256R1())
        pem = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        with open(f"{self.path}.key", "wb") as file:
            file.write(pem)

    def request(self):
        """A signing request that asks for another name than it will get."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")])
        csr = x509.CertificateSigningRequestBuilder().subject_name(name)
        return csr.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def keep(self, certificate):
        """Keeps a certificate for it."""
        with open(f"{self.path}.crt", "w", encoding="utf-8") as file:
            file.write(certificate)


class Device:
    """A client over TLS, by user name and secret or by certificate; `welcomed` says whether it is let in."""

    def __init__(self, node, folder, client_id, user=None, secret=None, key=None):
        self.messages, self.over = queue.Queue(), threading.Event()
        answered = threading.Event()
        api = mqtt.CallbackAPIVersion.VERSION2
        self.paho = mqtt.Client(api, client_id=client_id, protocol=mqtt.MQTTv5, reconnect_on_failure=False)
        if user:
            self.paho.username_pw_set(user, secret)
        tls = ssl.create_default_context(cafile=f"{folder}/ca.crt")
        if key:
            tls.load_cert_chain(f"{key.path}.crt", f"{key.path}.key")
        self.paho.tls_set_context(tls)
        self.welcomed = False

        def connected(_client, _user, _flags, reason, _properties):
            self.welcomed = not reason.is_failure
            answered.set()

        self.paho.on_connect = connected
        self.paho.on_disconnect = lambda *_: (self.over.set(), answered.set())
        self.paho.on_message = lambda _client, _user, message: self.messages.put(message)
        subscribed = threading.Event()
        self.paho.on_subscribe = lambda *_: subscribed.set()
        self.subscribed = subscribed
        try:
            self.paho.connect("localhost", node.port)
            self.paho.loop_start()
            answered.wait(PATIENCE_SECS)
        except (OSError, ssl.SSLError):
            self.over.set()

    def ask(self, topic, answers, body):
        """The topic and the value of the answer to a request."""
        self.subscribed.clear()
        self.paho.subscribe(answers, qos=1)
        self.subscribed.wait(PATIENCE_SECS)
        self.paho.publish(topic, json.dumps(body), qos=1)
        message = self.messages.get(timeout=PATIENCE_SECS)
        return message.topic, json.loads(message.payload)

    def certificate(self, thing, body):
        """The stage and the value of the answer to a request for a certificate."""
        topic = f"things/{thing}/certificates/create"
        answered, value = self.ask(topic, f"{topic}/+", body)
        return answered.rsplit("/", 1)[1], value

    def leave(self):
        """DISCONNECT."""
        self.paho.disconnect()
        self.paho.loop_stop()


def enters(node, folder, key, **more):
    """Whether a certificate lets somebody in."""
    device = Device(node, folder, "trying", key=key, **more)
    welcomed = device.welcomed
    device.leave()
    return welcomed


def story(node, folder):
    """All of it."""
    node.ctl("enrolments", "create", "enrolment=pumps", "name=pump-{serial}", "secret=common to all pumps")
    node.ctl("enrolments", "add", "enrolment=pumps", 'serials=["7","8"]')
    made = node.ctl("authorities", "create", "authority=plant", "lifetime_days=30")
    check("an authority is made and does not show its key", "PRIVATE" not in json.dumps(made), made)

    # From the factory: by what all pumps have in common.
    comer = Device(node, folder, "7", "pumps", "common to all pumps")
    topic, answer = comer.ask(
        "admin/enrolments/register/1", "clients/7/reply/+", {"serial": "7", "nonce": "a nonce of this very pump"}
    )
    check("a device registers over TLS", answer.get("ok") is True, answer)
    comer.leave()
    given = answer["data"]

    # By its secret it has its first certificate signed.
    first = Key(folder, "first")
    pump = Device(node, folder, "pump-7", given["user"], given["secret"])
    stage, answer = pump.certificate("pump-7", {"csr": first.request(), "clientToken": "t1"})
    check("it has a certificate signed over MQTT", stage == "accepted" and answer["clientToken"] == "t1", answer)
    first.keep(answer["certificate"])
    read = x509.load_pem_x509_certificate(answer["certificate"].encode())
    name = read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    days = (read.not_valid_after_utc - read.not_valid_before_utc).days
    is_right = (name, days) == ("pump-7", 30)
    check("with its name, not the one that it asks for, for as long as the authority says", is_right, (name, days))
    for body, field in (
        ({"csr": "nonsense"}, "csr"),
        ({"csr": first.request(), "days": 31}, "days"),
        ({"csr": first.request(), "authority": "nobody"}, "authority"),
        ({}, "csr"),
    ):
        stage, answer = pump.certificate("pump-7", body)
        check(f"a wrong {field} is refused with its name", stage == "rejected" and field in json.dumps(answer), answer)
    pump.leave()

    # By certificate alone, and nobody else by it.
    pump = Device(node, folder, "pump-7", key=first)
    check("it comes in by its certificate, with neither name nor secret", pump.welcomed)
    topic, answer = pump.ask("things/pump-7/shadow/get", "things/pump-7/shadow/get/+", {})
    check("as itself", topic.endswith("rejected") and answer["code"] == 404, (topic, answer))
    check("and not as somebody else", not enters(node, folder, first, user="admin", secret=SECRET))

    # A new one, while the old one is in use.
    second = Key(folder, "second")
    stage, answer = pump.certificate("pump-7", {"csr": second.request()})
    second.keep(answer["certificate"])
    check("a second one waits to be used", answer["state"] == "issued", answer)
    pump.leave()
    check("the first one counts until then", enters(node, folder, first))
    check("the second one lets it in", enters(node, folder, second))
    check("and puts an end to the first", not enters(node, folder, first))
    states = {row["fingerprint"]: row["state"] for row in node.ctl("certificates", "list", "name=pump-7")["items"]}
    check("operators see both", sorted(states.values()) == ["in_use", "replaced"], states)

    # kill -9: what was answered is there.
    node.end(9)
    node = Node(folder)
    check("after kill -9 the second one lets it in", enters(node, folder, second))
    check("and the first does not", not enters(node, folder, first))

    # Taken back: at once for whoever is there.
    live = Device(node, folder, "pump-7", key=second)
    fingerprint = next(print_ for print_, state in states.items() if state == "in_use")
    revoked = node.ctl("certificates", "revoke", f"fingerprint={fingerprint}")
    check("a certificate is taken back", isinstance(revoked, dict) and revoked["state"] == "revoked", revoked)
    check("its connection ends", live.over.wait(PATIENCE_SECS))
    check("and it lets nobody in any more", not enters(node, folder, second))
    live.leave()
    return node


def claims(node, folder):
    """A certificate that all devices of a kind have in common, and an authority that others made."""
    claim = Key(folder, "claim")
    issued = node.ctl("certificates", "create", "name=pumps", "csr=" + claim.request())
    claim.keep(issued["certificate"])
    comer = Device(node, folder, "8", key=claim)
    check("a claim certificate lets in by its enrolment", comer.welcomed)
    _, answer = comer.ask(
        "admin/enrolments/register/1", "clients/8/reply/+", {"serial": "8", "nonce": "a nonce of the other pump"}
    )
    check("to register and get an identity", answer.get("data", {}).get("thing") == "pump-8", answer)
    own = Key(folder, "own")
    request = {"serial": "8", "nonce": "a nonce of the other pump", "csr": "no request"}
    _, answer = comer.ask("admin/enrolments/register/2", "clients/8/reply/+", request)
    check("a request that cannot be read is refused", answer.get("error", {}).get("field") == "csr", answer)
    _, answer = comer.ask("admin/enrolments/register/3", "clients/8/reply/+", {**request, "csr": own.request()})
    own.keep(answer["data"]["certificate"])
    check("and a certificate at once", enters(node, folder, own), answer)
    comer.leave()

    authority(f"{folder}/theirs")
    with open(f"{folder}/theirs/ca.crt", encoding="utf-8") as file:
        theirs = file.read()
    with open(f"{folder}/theirs/ca.key", encoding="utf-8") as file:
        key = file.read()
    refused = node.ctl("authorities", "create", "authority=theirs", "certificate=" + theirs)
    check("an authority comes with its key", "key" in str(refused), refused)
    taken = node.ctl("authorities", "create", "authority=theirs", "certificate=" + theirs, "key=" + key)
    check("an authority of others is taken in", taken["authority"] == "theirs", taken)
    third = Key(folder, "third")
    signed = node.ctl("certificates", "create", "name=pump-8", "authority=theirs", "csr=" + third.request())
    third.keep(signed["certificate"])
    check("what it signs lets in", enters(node, folder, third))
    issue(f"{folder}/theirs", "pump-8")
    stray = Key(folder, "stray")
    stray.path = f"{folder}/theirs/pump-8"
    check("what it has signed elsewhere does not, whatever its name", not enters(node, folder, stray))
    node.ctl("authorities", "delete", "authority=theirs")
    check("an authority that is deleted lets nobody in", not enters(node, folder, third))
    node.ctl("things", "delete", "thing=pump-7")
    node.ctl("things", "create", "thing=pump-7")
    left = node.ctl("certificates", "list", "name=pump-7")["items"]
    check("a thing of the same name has none of the certificates before", left == [], left)
    return node


def made(folder, serial, name=None):
    """A device with a certificate of its maker, who vouches for its serial number."""
    issue(f"{folder}/maker", serial)
    key = Key(folder, name or serial)
    key.path = f"{folder}/maker/{name or serial}"
    if name:
        for kind in ("crt", "key"):
            os.rename(f"{folder}/maker/{serial}.{kind}", f"{key.path}.{kind}")
    return key


def makers(node, folder):
    """Devices that bring a certificate of their maker register at their first handshake."""
    authority(f"{folder}/maker")
    with open(f"{folder}/maker/ca.crt", encoding="utf-8") as file:
        certificate = "certificate=" + file.read()
    node.ctl("enrolments", "create", "enrolment=made", "name=made-{serial}", "location=acme/{serial}")
    node.ctl("enrolments", "add", "enrolment=made", 'serials=["M1","M2"]')
    refused = node.ctl("authorities", "create", "authority=maker", certificate, "enrolment=none")
    check("an enrolment has to be there", "enrolment" in str(refused) and "not_found" in str(refused), refused)
    taken = node.ctl("authorities", "create", "authority=maker", certificate, "enrolment=made")
    check("an authority is taken in without its key", taken["signs"] is False, taken)
    refused = node.ctl("certificates", "create", "name=made", "authority=maker", "csr=" + Key(folder, "x").request())
    check("and signs nothing here", "authority" in str(refused), refused)
    refused = node.ctl("authorities", "update", "authority=plant", "enrolment=made")
    check("one that signs here registers nobody", "invalid" in str(refused), refused)

    first = made(folder, "M1", "M1-a")
    device = Device(node, folder, "M1", key=first)
    check("a device of the maker comes in for the first time", device.welcomed)
    topic, answer = device.ask("things/made-M1/shadow/get", "things/made-M1/shadow/get/+", {})
    check("as the thing that it has become", topic.endswith("rejected") and answer["code"] == 404, (topic, answer))
    node.child.kill()
    device.leave()
    node = Node(folder)
    check("which is there after kill -9", enters(node, folder, first))
    thing = node.ctl("things", "get", "thing=made-M1")
    check("as its enrolment says", (thing["serial"], thing["location"]) == ("M1", "acme/M1"), thing)
    check("whoever is not on the list stays out", not enters(node, folder, made(folder, "M9")))
    missing = node.ctl("things", "get", "thing=made-M9")
    check("and is not registered", "not_found" in str(missing), missing)
    records = node.ctl("audit", "list", "action=enrolments register", "by=made")["items"]
    outcomes = [record["outcome"] for record in records]
    check("both stand in the audit", outcomes == ["forbidden", "ok"], records)

    node.ctl("enrolments", "update", "enrolment=made", "enabled=false")
    other = made(folder, "M2")
    check("a closed enrolment registers nobody", not enters(node, folder, other))
    check("and keeps nobody out who is registered", enters(node, folder, first))
    node.ctl("enrolments", "update", "enrolment=made", "enabled=true")
    check("an open one does", enters(node, folder, other))
    node.ctl("things", "replace", "thing=made-M2")
    check("whose device is replaced stays out", not enters(node, folder, other))

    second = made(folder, "M1", "M1-b")
    check("a further certificate of the maker counts for its thing", enters(node, folder, second))
    check("and puts an end to the one before", not enters(node, folder, first))
    again = made(folder, "M1", "M1-e")
    check("so does the next one", enters(node, folder, again) and not enters(node, folder, second))
    check("and none of them ever comes back", not enters(node, folder, first))
    node.ctl("things", "replace", "thing=made-M1")
    check("nor when its device is replaced", not enters(node, folder, again))
    node.ctl("enrolments", "reset", "enrolment=made", 'serial="M1"')
    third = made(folder, "M1", "M1-c")
    check("after a reset the next device takes the thing over", enters(node, folder, third))
    outside = [enters(node, folder, key) for key in (first, second, again)]
    check("and all before it are out", outside == [False] * 3, outside)
    node.ctl("things", "delete", "thing=made-M1")
    check("a thing that is deleted does not come back", not enters(node, folder, made(folder, "M1", "M1-d")))
    node.ctl("authorities", "update", "authority=maker", "enrolment=null")
    check("without its enrolment the authority registers nobody", not enters(node, folder, made(folder, "M3")))
    return node


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/theirs")
        os.mkdir(f"{folder}/maker")
        authority(folder)
        issue(folder, "localhost", "subjectAltName=DNS:localhost")
        node = Node(folder)
        try:
            node = story(node, folder)
            claims(node, folder)
            node = makers(node, folder)
        finally:
            node.child.kill()
    finish()


if __name__ == "__main__":
    main()
