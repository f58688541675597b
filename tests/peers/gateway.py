"""The HTTP gateway with curl, PyJWT and openapi-spec-validator: the commands of docs/http.md, tokens, the document.

A block of the page is what its first line says: `sh` must succeed, line by line; `sh refused` must be refused.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import time
import urllib.request

import jwt
from openapi_spec_validator import OpenAPIV31SpecValidator

from checks import check, finish
from hub import PATIENCE_SECS, SECRET, Hub

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "http.md"
TOKEN_SECRET = b"a secret of at least thirty-two bytes"


def commands():
    """The lines of the page, each with whether it is to be refused."""
    is_refused = None
    for line in PAGE.read_text().replace("\\\n    ", "").splitlines():
        if line in ("```sh", "```sh refused"):
            is_refused = line.endswith("refused")
        elif line == "```":
            is_refused = None
        elif is_refused is not None and not line.startswith("export "):
            yield line, is_refused


def page(url):
    """What a reader types."""
    env = {"PATH": os.environ["PATH"], "MANIFOLD_SECRET": SECRET, "URL": url}
    count = 0
    for command, is_refused in commands():
        count += 1
        done = subprocess.run(
            ["bash", "-c", command], env=env, capture_output=True, text=True, timeout=PATIENCE_SECS
        )
        # curl says 22 for a status of 400 or more.
        check(command, done.returncode == (22 if is_refused else 0), (done.returncode, done.stderr))
    check("the page has its commands", count > 10, count)


def get(url, token=None):
    """The status and the JSON of an answer."""
    request = urllib.request.Request(url)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def tokens(url):
    """A token in the place of user name and secret."""
    claims = {"sub": "robot", "role": "user", "exp": int(time.time()) + 60}
    good = jwt.encode(claims, TOKEN_SECRET, algorithm="HS256")
    status, answer = get(f"{url}/api/things/list", good)
    check("a token lets in", status == 200 and answer["ok"], (status, answer))
    status, answer = get(f"{url}/api/metrics/get", good)
    check("with its role and no more", status == 403, (status, answer))
    late = jwt.encode({**claims, "exp": int(time.time()) - 600}, TOKEN_SECRET, algorithm="HS256")
    forged = jwt.encode(claims, b"another secret of thirty-two bytes", algorithm="HS256")
    for name, token in (("an expired", late), ("a forged", forged)):
        status, answer = get(f"{url}/api/things/list", token)
        check(f"{name} token does not", status == 401, (status, answer))


def document(url):
    """The OpenAPI document as a third party reads it."""
    status, found = get(f"{url}/api/openapi.json")
    check("the document is there", status == 200, status)
    # Patterns are those of ECMA 262, which have \p{L}; the validator reads them as Python's.
    errors = [error.message for error in OpenAPIV31SpecValidator(found).iter_errors()]
    errors = [error for error in errors if not ("\\p{" in error and "is not a 'regex'" in error)]
    check("it is a valid OpenAPI 3.1 document", not errors, errors[:5])


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    (folder / "secret").write_bytes(TOKEN_SECRET)
    issuer = f'[{{ secret_file = "{folder}/secret", algorithms = ["HS256"] }}]'
    hub = Hub(str(folder / "data"), [f"security.jwt={issuer}"])
    address = hub.find(r'listener="http" address=([\d.]+:\d+)')
    try:
        page(f"http://{address}")
        tokens(f"http://{address}")
        document(f"http://{address}")
    finally:
        hub.kill()
finish()
