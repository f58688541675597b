"""mosquitto as a process."""

import os
import signal
import socket
import subprocess
import time

from hub import PATIENCE_SECS


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


class Mosquitto:
    """A mosquitto on a port of its own, whose sessions outlive it."""

    def __init__(self, data, lines=()):
        self.port = free_port()
        self.config = os.path.join(data, "mosquitto.conf")
        with open(self.config, "w", encoding="utf-8") as out:
            out.write(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
            out.write(f"persistence true\npersistence_location {data}/\nuser root\n")
            out.writelines(f"{line}\n" for line in lines)
        self.start()

    def start(self):
        self.child = subprocess.Popen(
            ["mosquitto", "-c", self.config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE_SECS
        while time.monotonic() < deadline:
            with socket.socket() as it:
                if it.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError("mosquitto does not listen")

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(PATIENCE_SECS)
