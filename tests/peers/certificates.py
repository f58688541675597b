"""Certificates made with openssl: an authority in a folder, and what it issues there."""

import subprocess

EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "10"]


def openssl(*words):
    """Runs openssl."""
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def authority(folder):
    """An authority, in `ca.crt` and `ca.key`."""
    ca = ["-subj", "/CN=The peers", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    openssl("req", "-x509", *EC, *ca, "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.crt")


def issue(folder, name, *extensions):
    """A certificate and its key, by the authority in the folder."""
    words = ["req", "-x509", *EC, "-subj", f"/CN={name}"]
    for extension in ("basicConstraints=critical,CA:FALSE", *extensions):
        words += ["-addext", extension]
    words += ["-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key"]
    openssl(*words, "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.crt")
