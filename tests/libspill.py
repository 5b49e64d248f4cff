# SPDX-License-Identifier: GPL-2.0-or-later
"""For tests of vmemdirect with pages on exports of memservers: sub-hosts that live and die."""
import os
import shutil
import signal
import time

from libpaging import Daemon, Paged, check, test, wait_until
from libserve import Memserver, free_port

RAM = ("--ram", "16M")
_servers = []


class SubHost(Memserver):
    """A memserver with one export, `x`."""

    def __init__(self, size="128M", start=True):
        super().__init__("--export", f"x={size}", start=False)
        self.port = free_port()  # not one the kernel gives to somebody while it is down
        _servers.append(self)
        if start:
            self.start()

    @property
    def url(self):
        return f"nbd://127.0.0.1:{self.port}/x"

    def spill(self):
        return "--spill", self.url

    def kill(self):
        self.stop(signal.SIGKILL)

    def reborn(self):
        """As after a restart of its host: the bytes are gone, the name is the same."""
        self.kill()
        shutil.rmtree(self.pool)
        os.mkdir(self.pool)
        self.start()


def end_servers():
    """Every test's own; a sanitizer's report in one fails the test."""
    said = [s.complaints() for s in _servers]
    for server in _servers:
        if server.process and server.process.poll() is None:
            server.process.send_signal(signal.SIGCONT)
        server.close()
    _servers.clear()
    check(not any(said), f"memserver: {said}")


def spilled(sentence, tsan=True):
    def mark(fn):
        def run():
            try:
                fn()
            finally:
                end_servers()
        test(sentence, tsan)(run)
        return fn
    return mark


def paged(*options, fill=True, size="64M", name="t"):
    process = Paged(size=size)
    if fill:
        process.expect("fill")
    return process, Daemon("--pid", str(process.pid), *RAM, *options, name=name)


def wait_rested(daemon):
    """The limit is kept and there is head-room: nothing is being evicted. (A fault without room
    waits for the evictor, not for its page.) Squeezed, the evictor rests at its high water mark; after
    faults there may be less room than that without it being woken: then its counts stand still."""
    seen, since = None, 0

    def rested():
        nonlocal seen, since
        s = daemon.status()
        least = max(32 * 4096, s["limit_bytes"] // 256)  # pager_least_room
        room, now = s["limit_bytes"] - s["resident_bytes"], (s["resident_bytes"], s["evictions"])
        if now != seen:
            seen, since = now, time.monotonic()
        return room >= 3 * least or (room >= least and time.monotonic() - since > 1)
    wait_until(rested, "the evictor to rest", 120, daemon.child)


def place(daemon, host):
    return next(p for p in daemon.status()["tier"]["places"] if p["name"] == host.url)


def wait_state(daemon, host, state):
    wait_until(lambda: place(daemon, host)["state"] == state, f"{host.url} to be {state}", 120, daemon.child)


def wait_said(daemon, text):
    wait_until(lambda: text in daemon.text(), f"'{text}' in the log", 120, daemon.child)


def finish(process, daemon, *hosts):
    process.expect("verify")
    daemon.detach()
    process.expect("verify")
    for host in hosts:
        check(host.wait_stored(4096, "x") or host.stored("x") == 0,
              f"{host.stored('x')} bytes were not given back")
