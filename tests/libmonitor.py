# SPDX-License-Identifier: GPL-2.0-or-later
"""A monitor that answers when it is told to, for what QEMU does when a processor holds its lock."""
import json
import os
import socket
import threading

from libpaging import MIB, T

NOISE_SECONDS = 0.5  # an event each: a client that waits for its answer is never timed out


class Monitor:
    """QMP on a socket of its own, of a VM with one memory backend of that size. withhold(): these commands
    get no answer until release(); "greeting": not even that. `asked`: all commands that came, `calls`:
    how many connections. `status`: what query-status says; a test may change it, as somebody else might."""

    def __init__(self, name="monitor", size=64 * MIB):
        self.path, self.size = f"{T}/{name}.qmp", size
        self.withheld, self.asked, self.status, self.calls = set(), [], "running", 0
        self.released = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        threading.Thread(target=self.serve, daemon=True).start()

    @property
    def running(self):
        return self.status == "running"

    def withhold(self, *words):
        self.released.clear()
        self.withheld = set(words)

    def release(self):
        self.released.set()

    def close(self):
        self.release()
        self.listener.close()
        os.unlink(self.path)

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.calls += 1
            threading.Thread(target=self.talk, args=(client,), daemon=True).start()

    def wait(self, word, say):
        while word in self.withheld and not self.released.wait(NOISE_SECONDS):
            say({"event": "NOISE"})

    def talk(self, client):
        def say(what):
            client.sendall(json.dumps(what).encode() + b"\n")

        try:
            with client, client.makefile("r") as lines:
                self.wait("greeting", lambda event: None)
                say({"QMP": {"version": {}, "capabilities": []}})
                for line in lines:
                    command = json.loads(line)["execute"]
                    self.asked.append(command)
                    self.wait(command, say)
                    say({"return": self.answer(command)})
        except OSError:
            pass

    def answer(self, command):
        if command in ("stop", "cont"):  # as QEMU does, whoever asks and whatever it was
            self.status = "running" if command == "cont" else "paused" if self.running else self.status
        memory = [{"id": "mem0", "size": self.size, "share": True}]
        return {"query-memdev": memory, "query-name": {}, 
                "query-status": {"running": self.running, "status": self.status}}.get(command, {})
