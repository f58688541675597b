"""The listeners of a node: TLS, certificates of clients, WebSocket over TLS, Unix sockets and PROXY headers with
paho-mqtt, and a node that runs out of file descriptors.

`MANIFOLD_BIN` names the executable; certificates are made with openssl.
"""

import os
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import paho.mqtt.client as mqtt
from certificates import authority, issue
from checks import check, finish
from hub import PATIENCE_SECS, SECRET, Process


class Listening(Process):
    """A node with listeners of every kind on free ports."""

    def __init__(self, folder):
        text = f"""
            [listen]
            mqtt = "127.0.0.1:0"
            mqtts = "127.0.0.1:0"
            wss = "127.0.0.1:0"
            ws = ""
            http = ""
            unix = "{folder}/socket"
            [tls]
            certificate = "{folder}/localhost.crt"
            key = "{folder}/localhost.key"
            client_ca = "{folder}/ca.crt"
            client_auth = "optional"
            client_name = "cn"
            [[listen.listener]]
            name = "proxied"
            kind = "mqtt"
            address = "127.0.0.1:0"
            proxy_protocol = ["127.0.0.0/8"]
            [[listen.listener]]
            name = "required"
            kind = "mqtts"
            address = "127.0.0.1:0"
            tls = {{ certificate = "{folder}/localhost.crt", key = "{folder}/localhost.key", client_ca = "{folder}/ca.crt", client_auth = "required", version_min = "1.3" }}
        """
        with open(f"{folder}/manifold.toml", "w", encoding="utf-8") as file:
            file.write(text)
        command = [os.environ["MANIFOLD_BIN"], "serve", "--data", f"{folder}/data"]
        command += ["--config", f"{folder}/manifold.toml"]
        super().__init__(command, {"MANIFOLD_ADMIN_SECRET": SECRET})
        self.find(r"ready startup_ms=(\d+)")

    def port(self, listener):
        """Where a listener is."""
        return int(self.find(rf'listener="{listener}" address=[\d.]+:(\d+)'))


def enters(connect, transport="tcp", user="admin", tls=None, client_id="peer"):
    """Whether a client of paho-mqtt is welcomed and hears itself."""
    api = mqtt.CallbackAPIVersion.VERSION2
    client = mqtt.Client(api, client_id=client_id, protocol=mqtt.MQTTv5, transport=transport)
    if user:
        client.username_pw_set(user, SECRET)
    if tls:
        client.tls_set_context(tls)
    if transport == "websockets":
        client.ws_set_options(path="/mqtt")
    welcomed, heard = threading.Event(), threading.Event()
    topic = f"things/{client_id}/events/self" if client_id == "pump7" else "peers/self"
    client.on_connect = lambda _c, _u, _f, reason, _p: reason.is_failure or welcomed.set()
    client.on_message = lambda *_: heard.set()
    client.on_subscribe = lambda *_: client.publish(topic, "x" * 100_000 if user else "{}", qos=1)
    client.on_publish = lambda *_: None if user else heard.set()
    try:
        connect(client)
        client.loop_start()
        if not welcomed.wait(PATIENCE_SECS / 6):
            return False
        if user:
            client.subscribe(topic, qos=1)
        else:
            client.publish(topic, '{"level":"notify"}', qos=1)
        return heard.wait(PATIENCE_SECS)
    except (OSError, ssl.SSLError):
        return False
    finally:
        client.disconnect()
        client.loop_stop()


def context(folder, certificate=None, version=None):
    """What a client trusts and shows."""
    found = ssl.create_default_context(cafile=f"{folder}/ca.crt")
    if certificate:
        found.load_cert_chain(f"{folder}/{certificate}.crt", f"{folder}/{certificate}.key")
    if version:
        found.maximum_version = found.minimum_version = version
    return found


def tls_checks(node, folder):
    """TLS, mutual TLS and WebSocket over TLS."""
    port = node.port("mqtts")

    def dial(client):
        client.connect("localhost", port)

    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        tls = context(folder, version=version)
        check(f"{version.name} with a password", enters(dial, tls=tls))
    check("another authority is not trusted", not enters(dial, tls=ssl.create_default_context()))
    tls = context(folder, "pump7")
    check("a certificate is a name", enters(dial, user=None, tls=tls, client_id="pump7"))
    check("a certificate is no other name", not enters(dial, tls=tls))
    tls = context(folder, "stranger")
    check("an unknown name is refused", not enters(dial, user=None, tls=tls))

    wss = node.port("wss")
    tls = context(folder)
    check("WebSocket over TLS", enters(lambda it: it.connect("localhost", wss), "websockets", tls=tls))

    required = node.port("required")

    def dial_required(client):
        client.connect("localhost", required)

    check("no certificate, no way in", not enters(dial_required, tls=tls))
    check("a certificate and a password", enters(dial_required, tls=context(folder, "pump7")))
    old = context(folder, "pump7", ssl.TLSVersion.TLSv1_2)
    check("TLS 1.2 is turned away", not enters(dial_required, tls=old))


def proxied(port, header):
    """The answer to a PROXY header and a CONNECT."""
    fields = (b"proxied", b"admin", SECRET.encode())
    body = b"\x00\x04MQTT\x04\xc2\x00\x3c" + b"".join(len(it).to_bytes(2, "big") + it for it in fields)
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECS) as stream:
        try:
            stream.sendall(header + b"\x10" + bytes([len(body)]) + body)
            return stream.recv(4)
        except ConnectionError:
            return b""


def descriptors_check(folder):
    """A node without file descriptors closes who comes, does not spin, and goes on when there are some again."""
    command = f"ulimit -n 64; exec '{os.environ['MANIFOLD_BIN']}' serve --data '{folder}/few'"
    for listener in ("mqtt=127.0.0.1:0", "ws=", "http="):
        command += f" --set listen.{listener}"
    node = Process(["bash", "-c", command], {"MANIFOLD_ADMIN_SECRET": SECRET})
    port = int(node.find(r'listener="mqtt" address=[\d.]+:(\d+)'))
    node.find(r"ready startup_ms=(\d+)")
    streams = [socket.create_connection(("127.0.0.1", port), PATIENCE_SECS) for _ in range(100)]
    node.find(r"(cannot accept connections)")
    closed = 0
    deadline = time.monotonic() + PATIENCE_SECS
    while closed < 30 and time.monotonic() < deadline:
        closed = 0
        for stream in streams:
            stream.setblocking(False)
            try:
                closed += stream.recv(1) == b""
            except BlockingIOError:
                pass
            except ConnectionError:
                closed += 1
        time.sleep(0.05)
    check("who finds no file descriptor is closed, not left waiting", closed >= 30, closed)
    for stream in streams:
        stream.close()
    check("with descriptors free, clients come in", enters(lambda it: it.connect("127.0.0.1", port)))
    told = sum("cannot accept connections" in line for line in node.lines)
    check("the log tells of it once a second at most", told <= PATIENCE_SECS, told)
    check("SIGTERM ends with 0", node.end(signal.SIGTERM) == 0)


def main():
    """All of it."""
    with tempfile.TemporaryDirectory() as folder:
        authority(folder)
        issue(folder, "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        issue(folder, "pump7")
        issue(folder, "stranger")
        node = Listening(folder)
        env = {"MANIFOLD_URL": f"mqtt://127.0.0.1:{node.port('mqtt')}", "MANIFOLD_SECRET": SECRET}
        words = ["ctl", "things", "create", "thing=pump7", "location=acme/berlin/pump7"]
        subprocess.run([os.environ["MANIFOLD_BIN"], *words], env=env, check=True, capture_output=True)
        tls_checks(node, folder)
        check("a Unix socket", enters(lambda it: it.connect(f"{folder}/socket"), "unix"))
        port = node.port("proxied")
        header = b"PROXY TCP4 203.0.113.7 10.0.0.1 8080 1883\r\n"
        check("a PROXY header is taken off", proxied(port, header)[:2] == b"\x20\x02")
        check("without one nobody comes in", proxied(port, b"") == b"")
        check("SIGTERM ends with 0", node.end(signal.SIGTERM) == 0)
        check("the Unix socket is gone", not os.path.exists(f"{folder}/socket"))
        descriptors_check(folder)
    finish()


main()
