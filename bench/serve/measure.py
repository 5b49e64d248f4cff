# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured: bursts of load against every server in turn, then what each costs
when it starts, lies idle and gives memory back."""

import contextlib
import fcntl
import json
import os
import statistics
import subprocess
import sys
import time

MIB = 1 << 20

# key, what the load client is told, the figures taken from it
BURSTS = (
    ("qd1_read", "--op randread", ("p50_us", "p99_us", "kio_per_cpu_s")),
    ("qd1_write", "--op randwrite", ("p50_us", "p99_us", "kio_per_cpu_s")),
    ("spin_qd1_read", "--op randread --spin", ("p50_us", "p99_us")),
    ("spin_qd1_write", "--op randwrite --spin", ("p50_us", "p99_us")),
    ("qd32_read", "--op randread --depth 32", ("kiops", "kio_per_cpu_s", "p99_us")),
    ("qd32_write", "--op randwrite --depth 32", ("kiops", "kio_per_cpu_s", "p99_us")),
    ("qd128_read", "--op randread --depth 128", ("kiops", "kio_per_cpu_s")),
    ("qd128_write", "--op randwrite --depth 128", ("kiops", "kio_per_cpu_s")),
    ("c4_read", "--op randread --depth 32 --connections 4", ("kiops", "kio_per_cpu_s")),
    ("c4_write", "--op randwrite --depth 32 --connections 4", ("kiops", "kio_per_cpu_s")),
    ("128k_read", "--op read --block 128K --depth 8", ("MBps",)),
    ("128k_write", "--op write --block 128K --depth 8", ("MBps",)),
    ("1m_read", "--op read --block 1M --depth 8", ("MBps",)),
    ("1m_write", "--op write --block 1M --depth 8", ("MBps",)),
    ("c4_128k_read", "--op read --block 128K --depth 8 --connections 4", ("MBps",)),
)


# Of a CPU, taken by somebody else during a burst: such a burst is done again. A tick is
# 2.5 % of a burst of 0.4 s.
DISTURBED = 0.1


class Failed(Exception):
    """A burst that gave no figure, with the client's words."""


class Bench:
    """What all measurements share: CPUs, folders, the load client."""

    def __init__(self, build, tmpfs, server_cpu, client_cpu, lock=None, span=512 * MIB,
                 repeats=4, nice=0):
        self.repeats, self.build, self.tmpfs, self.nice = repeats, build, tmpfs, nice
        self.lock, self.span = lock, span
        self.server_cpu, self.client_cpu = server_cpu, client_cpu

    @contextlib.contextmanager
    def alone(self):
        """Holds the machine's lock, where one was named, for one group of bursts."""
        if not self.lock:
            yield
            return
        with open(self.lock, "a", encoding="ascii") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            yield

    def load_argv(self, door, *words):
        return [os.path.join(self.build, "bench/load"), *door.args(), *words,
                "--cpu", str(self.client_cpu)]

    def load(self, door, *words, timeout=120):
        try:
            done = subprocess.run(self.load_argv(door, *words), timeout=timeout,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        except subprocess.TimeoutExpired as e:
            raise Failed(f"no end within {timeout} s") from e
        if done.returncode:
            raise Failed((done.stderr.strip() or f"status {done.returncode}").splitlines()[-1])
        return json.loads(done.stdout)

    def fill(self, door, length):
        if door.proto != "limit":
            self.load(door, "--op", "write", "--block", "128K", "--depth", "32",
                      "--span", str(length), "--count", str(length // (128 << 10)), "--wait", "10")


def say(text):
    print(text, file=sys.stderr, flush=True)


def start_all(bench, kinds, failures):
    """Starts and fills every server; returns those that answer, stopped (SIGSTOP)."""
    servers = []
    for kind in kinds:
        server = kind(bench)
        lacks = server.missing()
        if lacks:
            failures[kind.name] = lacks
            say(f"  missing: {kind.name}: {lacks}")
            continue
        try:
            server.start()
            bench.fill(server.doors[0], bench.span)
        except (Failed, OSError, subprocess.SubprocessError) as e:
            failures[kind.name] = f"{e}; its log: {server.log()[-300:]}"
            say(f"  {kind.name}: {failures[kind.name]}")
            server.stop()
            continue
        server.pause(True)
        servers.append(server)
    return servers


def split_as_initiators_do(door, words):
    """An NVMe controller tells its longest transfer (MDTS; ours, as SPDK's, 128 KiB): a
    host sends 1 MiB in pieces, with as many bytes under way."""
    if door.proto != "nvme":
        return words
    return words.replace("--block 1M --depth 8", "--block 128K --depth 64")


def burst(bench, door, words, seconds):
    """One burst, again (up to REPEATS times) while others took more than DISTURBED of
    one of its CPUs; the least disturbed counts."""
    words = split_as_initiators_do(door, words)
    server, best = door.server, None
    server.pause(False)
    try:
        for _ in range(1 + bench.repeats):
            r = bench.load(door, *words.split(), "--seconds", str(seconds), "--warmup",
                           "0.05", "--span", str(bench.span), "--wait", "5",
                           "--server-cpu-pid", str(server.pid), "--server-cpu",
                           str(bench.server_cpu))
            # Others may use what a sleeping server leaves; and a server's threads may
            # wait for each other. Both together: it waited for others.
            r["disturbed"] = max(r["client_waited"],
                                 min(r["server_waited"], r["server_cpu_lost"]))
            if not best or r["disturbed"] < best["disturbed"]:
                best = r
            if best["disturbed"] <= DISTURBED:
                break
    finally:
        server.pause(True)
    return best


def bursts(bench, servers, rounds, seconds, only, failures):
    """Round after round, every server's burst of one kind beside the others', so that
    what else the machine does falls on all alike. -> {door: {key: [result, ...]}}"""
    doors = [d for s in servers for d in s.doors]
    got = {d.name: {} for d in doors}
    for number in range(rounds):
        for key, words, _ in BURSTS:
            if only and not only(key):
                continue
            say(f"  round {number + 1}/{rounds}: {key}")
            with bench.alone():
                for door in doors:
                    try:
                        r = burst(bench, door, words, seconds)
                    except Failed as e:
                        failures.setdefault(f"{door.name}: {e}", []).append(key)
                        continue
                    got[door.name].setdefault(key, []).append(r)
    return got


def first_io(bench, kind):
    """ms from starting a server of a 4 GiB export to the end of the first read."""
    server = kind(bench)
    waiting = None
    try:
        # The client waits for the server, so that its own start does not count.
        prepare = server.prepare

        def prepare_and_wait():
            nonlocal waiting
            argv = prepare()
            waiting = subprocess.Popen(
                bench.load_argv(server.doors[0], "--first", "--wait", "20"),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True)
            time.sleep(0.02)
            return argv

        server.prepare = prepare_and_wait
        server.start()
        out, err = waiting.communicate(timeout=30)
        if waiting.returncode:
            raise Failed(err.strip().splitlines()[-1] if err else "no first read")
        return (json.loads(out)["first_read_monotonic_ns"] - server.started_ns) / 1e6
    finally:
        if waiting and waiting.poll() is None:
            waiting.kill()
            waiting.wait()
        server.stop()


def after_trim(bench, server, door, length, block):
    """Writes `length`, trims it in pieces; what is left a second later, and the rate."""
    before = server.memory()["own" if server.data_dir() else "pss"]
    data_before = server.data_bytes()
    bench.fill(door, length)
    held = server.data_bytes() - data_before + server.memory()[
        "own" if server.data_dir() else "pss"] - before
    size = 4096 if block == "4K" else MIB
    r = bench.load(door, "--op", "trim", "--block", block, "--depth", "32", "--span",
                   str(length), "--count", str(length // size))
    time.sleep(1)
    left = server.data_bytes() - data_before + server.memory()[
        "own" if server.data_dir() else "pss"] - before
    return {"held": held, "left": max(left, 0), "kiops": r["kiops"]}


def costs(bench, kind, door_index, idle_seconds, length, starts):
    """One server at a time: start, memory, give-back, idleness."""
    got = {}
    with bench.alone():
        got["first_io_ms"] = statistics.median(first_io(bench, kind) for _ in range(starts))
    server = kind(bench)
    try:
        server.start()
        door = server.doors[door_index]
        bench.load(door, "--count", "1", "--wait", "20")
        got["empty"] = server.memory()
        with bench.alone():
            got["trim_1m"] = after_trim(bench, server, door, length, "1M")
            got["trim_4k"] = after_trim(bench, server, door, length, "4K")
        bench.fill(door, length)
        bench.load(door, "--op", "mix", "--depth", "32", "--connections", "4", "--seconds",
                   "0.5", "--span", str(length))
        full = server.memory()
        got["loaded"] = full
        got["data"] = length
        # Data in the server's own memory is not what it needs beyond the data.
        got["own"] = full["own"] if server.data_dir() else full["pss"] - length
        with bench.alone():
            got["idle_cpu_percent"] = bench.load(
                door, "--idle", str(idle_seconds), "--server-cpu-pid",
                str(server.pid))["idle_cpu_percent"]
    finally:
        server.stop()
    return got


def fio_check(bench, door, seconds):
    """The same burst by fio's NBD engine: does our client tell the truth?"""
    got = {}
    for key, depth in (("qd1_read", 1), ("qd32_read", 32)):
        host, port = door.where.rsplit(":", 1)
        uri = f"nbd://{host}:{port}/{door.export or ''}"
        done = subprocess.run(
            ["fio", "--name=x", "--ioengine=nbd", f"--uri={uri}", "--rw=randread",
             "--bs=4k", f"--iodepth={depth}", f"--size={bench.span}", "--time_based",
             f"--runtime={seconds}", f"--cpus_allowed={bench.client_cpu}", "--norandommap",
             "--output-format=json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, timeout=60 + 10 * seconds)
        try:
            job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]["read"]
        except (ValueError, KeyError, IndexError) as e:
            raise Failed(done.stderr.strip()[-200:] or "fio printed no figures") from e
        got[key] = {"kiops": job["iops"] / 1e3,
                    "p50_us": job["clat_ns"]["percentile"]["50.000000"] / 1e3}
    return got
