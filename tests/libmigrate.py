# SPDX-License-Identifier: GPL-2.0-or-later
"""Two stock QEMUs on this machine and a vmemdirect receive between them."""
import json
import os
import random
import re
import socket
import time

from libguest import Guest
from libpaging import B, MIB, STATE, T, check, memory_object, spawn, wait_until

# Stock QEMU 7.2 under TCG loses guest writes during a live migration by itself when the RAM is
# a multiple of 256 KiB (its dirty-bitmap's fast path); the tests that let the guest run take less.
ODD = 8
PAGE = 4096


def qmp(path, command, seconds=60, **arguments):
    """One command on a connection of its own; the answer, or {"error": ...}. TimeoutError: QEMU's main
    thread does not answer so long."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(seconds)
        s.connect(path)
        file = s.makefile("r")
        file.readline()
        for name, args in (("qmp_capabilities", {}), (command, arguments)):
            s.sendall(json.dumps({"execute": name, "arguments": args}).encode() + b"\n")
            answer = {}
            while "return" not in answer and "error" not in answer:
                answer = json.loads(file.readline())
        return answer


def ask(path, command, **arguments):
    answer = qmp(path, command, **arguments)
    check("return" in answer, f"{command}: {answer}")
    return answer["return"]


class Vm(Guest):
    """A QEMU whose memory the test can read and write from outside while it is stopped."""

    def __init__(self, name, mib=64, odd=0, options=(), memdev="mem0", **more):
        size = f"{mib * 1024 - odd}K"
        if os.path.exists(f"{T}/{name}.qmp"):
            os.unlink(f"{T}/{name}.qmp")  # of one that was killed
        super().__init__(mib=size, name=name, memory=f"memory-backend-memfd,id={memdev},size={size},share=on",
                         options=[*(["-machine", f"memory-backend={memdev}"] if memdev != "mem0" else []),
                                  *options], **more)
        self.bytes = mib * MIB - odd * 1024
        # Answers, not only exists: vmemdirect gives a monitor five seconds, QEMU may start for longer.
        wait_until(lambda: os.path.exists(self.qmp) and self.status() != "gone", "QEMU's monitor", alive=self.child)

    def __call__(self, command, **arguments):
        return ask(self.qmp, command, **arguments)

    def status(self, seconds=60):
        """What it does, "gone" when it has ended, "silent" when its main thread does not answer."""
        try:
            return self("query-status", seconds=seconds)["status"]
        except TimeoutError:
            return "silent"
        except (OSError, ValueError):
            return "gone"

    def migration(self):
        return self("query-migrate").get("status", "none")

    def object(self):
        return open(memory_object(self.pid), "r+b", buffering=0)

    def fill(self, seed=1, zero=.25):
        """Random pages, such a part of them zero, some in runs."""
        rng = random.Random(seed)
        with self.object() as o:
            at = 0
            while at < self.bytes // PAGE:
                n = min(rng.choice((1, 2, 7, 40, 300)), self.bytes // PAGE - at)
                o.seek(at * PAGE)
                o.write(bytes(n * PAGE) if rng.random() < zero else rng.randbytes(n * PAGE))
                at += n

    def memory(self):
        with self.object() as o:
            return o.read(self.bytes)

    def migrate_to(self, port, mb_per_second=0, **capabilities):
        caps = {"return-path": True, **{k.replace("_", "-"): v for k, v in capabilities.items()}}
        self("migrate-set-capabilities", capabilities=[
            {"capability": name, "state": on} for name, on in caps.items()])
        self("migrate-set-parameters", **{"max-bandwidth": (mb_per_second or 10000) * 1000000})
        # (An earlier one that failed may not be cleared away yet.)
        wait_until(lambda: "return" in qmp(self.qmp, "migrate", uri=f"tcp:127.0.0.1:{port}"),
                   "the migration to begin", 60, self.child)

    def wait_migration(self, *states, seconds=240):
        wait_until(lambda: self.migration() in states, f"migration to be {states}", seconds, self.child)
        return self.migration()


def source(name="src", **more):
    return Vm(name, **more)


def destination(name="dst", options=(), **more):
    return Vm(name, options=["-incoming", "defer", *options], **more)


class Receive:
    """A vmemdirect receive that listens when made; `port` is where."""

    def __init__(self, vm, *options, ram="16M", name="r", memdev="mem0", ssd=None, env=None):
        # The attach is refused while the host swaps; on a shared machine another test may let it.
        wait_until(lambda: len(open("/proc/swaps").readlines()) < 2, "the host's swap to be off", 240)
        self.name, self.log_path = name, f"{T}/{name}.log"
        self.log = open(self.log_path, "w")
        self.out_path = f"{T}/{name}.out"
        self.child = spawn([f"{B}/vmemdirect", "receive", "--listen", "tcp:127.0.0.1:0", "--qmp", vm.qmp,
                            "--memdev", memdev, "--ram", ram, *([] if ssd == "" else ["--ssd", ssd or f"{T}/{name}.swap"]),
                            "--name", name, "--state", STATE, "--json", *options],
                           stdout=open(self.out_path, "w"), stderr=self.log, env={**os.environ, **(env or {})})
        self.wait_for("waiting for a migration at", 60)
        self.port = int(re.search(r"migration at \S+:(\d+)", self.text())[1])

    def text(self):
        return open(self.log_path).read()

    def wait_for(self, text, seconds=240):
        try:
            wait_until(lambda: text in self.text(), f"'{text}' in the log", seconds, self.child)
        except AssertionError:
            if text not in self.text():
                raise AssertionError(f"never '{text}': {self.text()}") from None

    def wait_end(self, seconds=240):
        return self.child.wait(seconds)

    def verb(self, verb, *words):
        import subprocess
        return subprocess.run([f"{B}/vmemdirect", verb, "--state", STATE, self.name, *words],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def status(self):
        done = self.verb("status", "--json")
        check(done.returncode == 0, f"{done.stderr} {self.text()}")
        return json.loads(done.stdout)

    def wait_migrated(self):
        self.wait_for("migrated:")
        wait_until(lambda: open(self.out_path).read().endswith("\n"), "the summary", 60, self.child)
        return json.loads(open(self.out_path).read())

    def detach(self):
        done = self.verb("detach")
        check(done.returncode == 0 and self.wait_end(120) == 0, f"{done.stderr} {self.text()}")


class Watch:
    """A vmemdirect watch of a VM."""

    def __init__(self, vm, port, *options, name="w", env=None, before=()):
        self.log_path = f"{T}/{name}.log"
        self.child = spawn([*before, f"{B}/vmemdirect", "watch", "--to", f"tcp:127.0.0.1:{port}", "--name", name,
                            *(options or ("--qmp", vm.qmp))], stderr=open(self.log_path, "w"),
                           env={**os.environ, **(env or {})})

    def text(self):
        return open(self.log_path).read()

    def wait_for(self, text, seconds=240):
        wait_until(lambda: text in self.text() or self.child.poll() is not None, f"'{text}' of watch", seconds)
        check(text in self.text(), self.text())

    def samples(self):
        return max((int(n) for n in re.findall(r"sample (\d+):", self.text())), default=0)


def receive_history(vm, *options, **more):
    receive = Receive(vm, "--history", "tcp:127.0.0.1:0", *options, **more)
    receive.history = int(re.search(r"access history at \S+:(\d+)", receive.text())[1])
    return receive


def sweeps(vm):
    return max((int(x.split()[-1]) for x in vm.lines if x and re.fullmatch(r"pagework: sweep \d+", x)), default=0)


def no_paging(status):
    """From the counters: nothing was read back, nothing evicted."""
    faults, out, tier = status["faults"], status["evictions"], status["tier"]
    check(faults["tier"] == 0 and tier["reads"] == 0, f"pages were read back: {status}")
    check(sum(out.values()) == 0, f"pages were evicted: {status}")


def live(mode, mib, work_mib, host=None, ssd=None, resting=False, contain=None):
    """A guest with `mib` that works on `work_mib` all the time (`resting`: has filled them) moves: "plain",
    stock QEMU to stock QEMU with enough memory, or "swap", into what contain() leaves it; "half", through
    vmemdirect into half of it, the rest to the SSD; "split", the same with the rest to the sub-host
    `host`. What it cost, and whether all its data was right at the end. `contain` is called with the
    destination's process before anything arrives, and answers with what knows its own memory."""
    both = dict(mib=mib, odd=ODD, work_mib=work_mib, append="pagework_rewrite=1",
                **(dict(hold=True, accesses=1) if resting else dict(accesses=0)))
    dst, src = destination(**both), source(**both)
    group = contain(dst.pid) if contain else None
    src.wait_for("pagework: filled", 900)
    if mode in ("plain", "swap"):
        dst("migrate-incoming", uri="tcp:127.0.0.1:0")
        receive, port = None, dst("query-migrate")["socket-address"][0]["port"]
    else:
        receive = Receive(dst, *(host.spill() if mode == "split" else ()), ram=f"{mib // 2}M",
                          ssd="" if mode == "split" else ssd)
        port = receive.port
    src.migrate_to(port)
    check(src.wait_migration("completed", "failed", seconds=900) == "completed",
          receive.text() if receive else "it failed")
    info = src("query-migrate")
    result = {"mode": mode, "mib": mib, "work_mib": work_mib, "total_ms": info["total-time"],
              "downtime_ms": info["downtime"], "sent_mib": info["ram"]["transferred"] >> 20}
    if receive:
        said = receive.wait_migrated()
        result.update({key: said[key] for key in ("in_ram_pages", "tier_pages", "again_pages")})
    dst.go()
    dst.wait_for("pagework: worked", 900)
    begun = time.monotonic()
    dst.wait_for("pagework: rewritten", 900)
    result["rewrite_ms"] = round((time.monotonic() - begun) * 1000)
    if group:
        result["own_kib"] = group.own_bytes() >> 10
    result["verified"] = dst.wait_for("pagework: verified", 900)
    result["right"] = result["verified"].endswith(f"{work_mib * 256} pages, 0 bad")
    return result
