"""`manifold serve` and `manifold-sim plant` as processes, and clients of paho-mqtt for them.

`MANIFOLD_BIN` and `MANIFOLD_SIM_BIN` name the executables.
"""

import json
import os
import queue
import re
import signal
import socket
import subprocess
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SECRET = "a secret of the peers"
PATIENCE_SECS = 30


class Process:
    """A process whose output is read until it ends."""

    def __init__(self, command, env=None):
        self.child = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.append(line)

    def find(self, pattern):
        """The first group of the first line that matches, now or later."""
        deadline = time.monotonic() + PATIENCE_SECS
        while time.monotonic() < deadline:
            for line in list(self.lines):
                found = re.search(pattern, line)
                if found:
                    return found.group(1)
            if self.child.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError(f"{pattern} is not said:\n{''.join(self.lines)}")

    def end(self, number):
        """Ends it with a signal, and gives the exit code."""
        self.child.send_signal(number)
        return self.child.wait(PATIENCE_SECS)


class Hub(Process):
    """A node on free ports."""

    def __init__(self, data, settings=()):
        command = [os.environ["MANIFOLD_BIN"], "serve", "--data", data]
        for listener in ("mqtt", "ws", "http"):
            command += ["--set", f"listen.{listener}=127.0.0.1:0"]
        for setting in settings:
            command += ["--set", setting]
        super().__init__(command, {"MANIFOLD_ADMIN_SECRET": SECRET})
        self.port = int(self.find(r'listener="mqtt" address=[\d.]+:(\d+)'))
        self.find(r"ready startup_ms=(\d+)")

    def kill(self):
        """`kill -9`."""
        self.end(signal.SIGKILL)

    def ctl(self, *words):
        """The data of the answer to `manifold ctl`."""
        env = {"MANIFOLD_URL": f"mqtt://127.0.0.1:{self.port}", "MANIFOLD_SECRET": SECRET}
        command = [os.environ["MANIFOLD_BIN"], "ctl", *words, "--json"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_SECS)
        if done.returncode != 0:
            raise RuntimeError(f"ctl {words}: {done.stderr}")
        return json.loads(done.stdout)


class Plant(Process):
    """A simulated plant."""

    def __init__(self, address="127.0.0.1:0"):
        super().__init__([os.environ["MANIFOLD_SIM_BIN"], "plant", "--listen", address])
        self.address = self.find(r"plant listening on (\S+)")

    def kill(self):
        """`kill -9`."""
        self.end(signal.SIGKILL)


class Client:
    """A client of paho-mqtt whose messages wait in a queue."""

    def __init__(self, port, client_id, user, secret, version=mqtt.MQTTv5, expiry_secs=None):
        self.messages = queue.Queue()
        self.session_present = None
        self._connected = threading.Event()
        self._subscribed = threading.Event()
        options = {} if version == mqtt.MQTTv5 else {"clean_session": True}
        api = mqtt.CallbackAPIVersion.VERSION2
        self.paho = mqtt.Client(api, client_id=client_id, protocol=version, **options)
        self.paho.username_pw_set(user, secret)
        self.paho.on_connect = self._on_connect
        self.paho.on_subscribe = lambda *_: self._subscribed.set()
        self.paho.on_message = lambda _client, _user, message: self.messages.put(message)
        settings = {}
        if version == mqtt.MQTTv5:
            settings["clean_start"] = expiry_secs is None
            settings["properties"] = Properties(PacketTypes.CONNECT)
            settings["properties"].SessionExpiryInterval = expiry_secs or 0
        self.paho.connect("127.0.0.1", port, **settings)
        # Else what follows an acknowledgement waits for that of TCP, 40 ms.
        self.paho.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.paho.loop_start()
        if not self._connected.wait(PATIENCE_SECS):
            raise RuntimeError(f"{client_id} is not welcomed")

    def _on_connect(self, _client, _user, flags, reason, _properties):
        if reason.is_failure:
            return
        self.session_present = flags.session_present
        self._connected.set()

    def subscribe(self, topic):
        """Subscribes with QoS 1, and waits for the SUBACK."""
        self._subscribed.clear()
        self.paho.subscribe(topic, qos=1)
        if not self._subscribed.wait(PATIENCE_SECS):
            raise RuntimeError(f"{topic} is not subscribed to")

    def publish(self, topic, value):
        """Publishes JSON with QoS 1, and waits for the PUBACK."""
        self.paho.publish(topic, json.dumps(value), qos=1).wait_for_publish(PATIENCE_SECS)

    def wait_for(self, topic, is_it=lambda value: True):
        """The first message on a topic with a value that is it; `None` if none comes."""
        deadline = time.monotonic() + PATIENCE_SECS
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            try:
                message = self.messages.get(timeout=left)
            except queue.Empty:
                return None
            if message.topic == topic:
                value = json.loads(message.payload)
                if is_it(value):
                    value["retained"] = message.retain
                    return value

    def leave(self):
        """DISCONNECT."""
        self.paho.disconnect()
        self.paho.loop_stop()
