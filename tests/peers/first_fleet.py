"""docs/first-fleet.md as a newcomer follows it: the commands are taken from the page, so that page and test cannot
differ.

A block of the page is what its first line says: `sh serve` and `sh start` are terminals that stay open; `sh` must
succeed, `sh refused` must not; `text` is what the last `sh` before shows, within some tries where it takes its time.

`MANIFOLD_BIN` names the executable; the page's virtual environment is that of the peers.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time

from checks import check, finish

PATIENCE_SECS = 60


def free_port():
    """A port that nobody uses."""
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


class Newcomer:
    """Who types what the page says."""

    def __init__(self, folder):
        port, bin_ = free_port(), os.path.realpath(os.environ["MANIFOLD_BIN"])
        self.folder, self.open = folder, []
        self.env = {
            "PATH": f"{os.path.dirname(bin_)}:{os.environ['PATH']}",
            "HOME": folder,
            "PORT": str(port),
            "MANIFOLD_URL": f"mqtt://127.0.0.1:{port}",
            "MANIFOLD_USER": "admin",
            "MANIFOLD_SECRET": "open-sesame",
            "MANIFOLD__LISTEN__MQTT": f"127.0.0.1:{port}",
            "MANIFOLD__LISTEN__WS": "",
            "MANIFOLD__LISTEN__HTTP": "",
        }

    def begin(self, text, until):
        """A terminal that stays open, once it shows what it should."""
        log = f"{self.folder}/terminal{len(self.open)}.log"
        with open(log, "w", encoding="utf-8") as out:
            command = ["bash", "-c", f"exec env {text}"]
            self.open.append(subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=out, stderr=out))
        deadline = time.monotonic() + PATIENCE_SECS
        while time.monotonic() < deadline:
            with open(log, encoding="utf-8") as shown:
                if until in shown.read():
                    return True
            time.sleep(0.1)
        return False

    def type(self, text):
        """Exit code and output of commands."""
        done = subprocess.run(
            ["bash", "-euc", text], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=PATIENCE_SECS
        )
        return done.returncode, done.stdout + done.stderr

    def leave(self):
        """Closes all terminals."""
        for process in self.open:
            process.kill()


def follow(newcomer, page):
    """Types everything."""
    typed, shown = "", ""
    for kind, text in re.findall(r"^```(\w+(?: \w+)?)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        first = text.strip().splitlines()[0][:70]
        if kind == "sh serve":
            check(f"{first}", newcomer.begin(text.strip(), "ready startup_ms"))
        elif kind == "sh start":
            check(f"{first}", newcomer.begin(text.strip(), "ten pumps are running"))
        elif kind == "sh":
            # The libraries of the peers are there already.
            ours = f"mkdir -p pumps/bin; printf '#!/bin/sh\\nexec {sys.executable} \"$@\"\\n' >pumps/bin/python; chmod +x pumps/bin/python"
            text = re.sub(r"^python3 -m venv pumps.*$", lambda _: ours, text, flags=re.MULTILINE)
            code, shown = newcomer.type(text)
            typed = text
            check(f"{first}", code == 0, shown)
        elif kind == "sh refused":
            code, said = newcomer.type(text)
            check(f"{first}: refused", code == 1, said)
        elif kind == "text":
            deadline = time.monotonic() + PATIENCE_SECS
            wanted = text.strip().splitlines()
            squeezed = lambda it: re.sub(r"\s", "", it)
            while not all(squeezed(line) in squeezed(shown) for line in wanted) and time.monotonic() < deadline:
                time.sleep(0.2)
                lines = [line for line in typed.splitlines() if line.startswith("manifold ctl") and " create " not in line]
                _, shown = newcomer.type("\n".join(lines))
            check(f"it shows {wanted}", all(squeezed(line) in squeezed(shown) for line in wanted), shown)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    with open(f"{here}/../../docs/first-fleet.md", encoding="utf-8") as file:
        page = file.read()
    with tempfile.TemporaryDirectory() as folder:
        newcomer = Newcomer(folder)
        try:
            follow(newcomer, page)
        finally:
            newcomer.leave()
    finish()


if __name__ == "__main__":
    main()
