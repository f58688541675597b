"""Tokens made by PyJWT, and SCRAM-SHA-256 over AUTH packets of bare bytes, against `manifold serve`."""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import signal
import socket
import struct
import tempfile
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
import paho.mqtt.client as mqtt

from checks import check, finish
from hub import PATIENCE_SECS, SECRET, Hub


def public_pem(key):
    """The public half, as issuers publish it."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def connack(port, user, password):
    """The reason code of the CONNACK that paho-mqtt sees."""
    seen = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="peer", protocol=mqtt.MQTTv5)
    client.username_pw_set(user, password)
    client.on_connect = lambda _client, _user, _flags, reason, _properties: seen.append(reason.value)
    client.connect("127.0.0.1", port)
    deadline = time.monotonic() + PATIENCE_SECS
    while not seen and time.monotonic() < deadline:
        client.loop(0.1)
    client.disconnect()
    return seen[0] if seen else None


def tokens(folder):
    """Each algorithm, and the ways in which tokens are forged."""
    keys = {
        "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    pem = b"".join(public_pem(key) for key in keys.values())
    (folder / "issuer.pem").write_bytes(pem)
    (folder / "secret").write_bytes(b"a secret of at least thirty-two bytes")
    issuers = (
        f'[{{ public_key_file = "{folder}/issuer.pem", issuer = "peer", audience = "manifold" }},'
        f' {{ secret_file = "{folder}/secret", algorithms = ["HS256"] }}]'
    )
    hub = Hub(str(folder / "data"), [f"security.jwt={issuers}"])
    claims = {"sub": "robot", "role": "app", "iss": "peer", "aud": "manifold"}
    claims["exp"] = int(time.time()) + 60
    for algorithm, key in keys.items():
        token = jwt.encode(claims, key, algorithm=algorithm)
        seen = connack(hub.port, "robot", token)
        check(f"a token signed with {algorithm} lets its bearer in", seen == 0, seen)
    secret = (folder / "secret").read_bytes()
    seen = connack(hub.port, "robot", jwt.encode(claims, secret, algorithm="HS256"))
    check("a token signed with HS256 lets its bearer in", seen == 0, seen)
    stranger = ed25519.Ed25519PrivateKey.generate()
    # PyJWT itself refuses to sign with a public key, so that one is made by hand.
    head = base64.urlsafe_b64encode(b'{"alg":"HS256"}').rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    code = hmac.new(pem, head + b"." + body, hashlib.sha256).digest()
    confused = (head + b"." + body + b"." + base64.urlsafe_b64encode(code).rstrip(b"=")).decode()
    for what, token in {
        "of a stranger": jwt.encode(claims, stranger, algorithm="EdDSA"),
        "that is not signed": jwt.encode(claims, None, algorithm="none"),
        "signed with the public key as a secret": confused,
        "that is over": jwt.encode({**claims, "exp": 1}, keys["RS256"], algorithm="RS256"),
        "for another audience": jwt.encode({**claims, "aud": "x"}, keys["ES256"], algorithm="ES256"),
    }.items():
        seen = connack(hub.port, "robot", token)
        check(f"a token {what} is refused", seen == 0x87, seen)
    hub.end(signal.SIGTERM)


def text(value):
    """UTF-8 or bytes with a length of two bytes (MQTT 5.0 1.5.4)."""
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(value)) + value


def packet(first, body):
    """A packet with its length (MQTT 5.0 1.5.5)."""
    length, rest = b"", len(body)
    while True:
        rest, low = divmod(rest, 128)
        length += bytes([low | (0x80 if rest else 0)])
        if not rest:
            return bytes([first]) + length + body


def receive(stream):
    """First byte and body of the next packet."""
    first, length, shift = stream.recv(1)[0], 0, 0
    while True:
        byte = stream.recv(1)[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    body = b""
    while len(body) < length:
        body += stream.recv(length - len(body))
    return first, body


def scram_step(password, first_bare, challenge):
    """The second message of a client, by the Python library alone (RFC 5802 3)."""
    fields = dict(field.split("=", 1) for field in challenge.split(","))
    salt = base64.b64decode(fields["s"])
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, int(fields["i"]))
    client_key = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    without_proof = f"c=biws,r={fields['r']}"
    said = f"{first_bare},{challenge},{without_proof}".encode()
    stored = hashlib.sha256(client_key).digest()
    signature = hmac.new(stored, said, hashlib.sha256).digest()
    proof = bytes(a ^ b for a, b in zip(client_key, signature))
    server_key = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    server = base64.b64encode(hmac.new(server_key, said, hashlib.sha256).digest()).decode()
    return f"{without_proof},p={base64.b64encode(proof).decode()}", f"v={server}"


def scram(port, name, password):
    """The reason code of the CONNACK, and whether the broker has proved itself."""
    method, first_bare = "SCRAM-SHA-256", f"n={name},r=peer-nonce"
    properties = b"\x15" + text(method) + b"\x16" + text("n,," + first_bare)
    head = text("MQTT") + bytes([5, 0x02]) + struct.pack(">H", 60)
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECS) as stream:
        connect = head + bytes([len(properties)]) + properties + text("scram-peer")
        stream.sendall(packet(0x10, connect))
        kind, body = receive(stream)
        if kind != 0xF0:
            return body[1], False
        data = body[body.index(b"\x16\x00", 2) :] if b"\x16\x00" in body else b""
        challenge = data[3:].decode()
        answer, expected = scram_step(password, first_bare, challenge)
        properties = b"\x15" + text(method) + b"\x16" + text(answer)
        length = len(properties)
        size = bytes([length]) if length < 128 else bytes([length & 0x7F | 0x80, length >> 7])
        stream.sendall(packet(0xF0, b"\x18" + size + properties))
        _, body = receive(stream)
        return body[1], expected.encode() in body


def proofs(folder):
    """SCRAM with a password that a person has chosen."""
    hub = Hub(str(folder / "scram"))
    seen = scram(hub.port, "admin", SECRET)
    check("SCRAM lets the administrator in, and both sides prove the secret", seen == (0, True), seen)
    for name, password in [("admin", "wrong"), ("nobody", SECRET)]:
        seen = scram(hub.port, name, password)
        check(f"SCRAM refuses {name} with {password!r}", seen == (0x87, False), seen)
    hub.end(signal.SIGTERM)


if __name__ == "__main__":
    os.umask(0o077)
    with tempfile.TemporaryDirectory() as place:
        tokens(pathlib.Path(place))
        proofs(pathlib.Path(place))
    finish()
