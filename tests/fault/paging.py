#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# flavour: asan tsan
# timeout: 1200
"""A paged process keeps every byte whatever fails below it, and whenever its daemon is killed."""
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libpaging import (B, LESS, MIB, STATE, T, TOP, Daemon, Limit, Paged, attach_argv, check, main,  # noqa: E402
                       refused, test, wait_until)

RAM = ("--ram", "16M")
SSD = ("--ssd", f"{T}/swap")


def paged(*options, fill=True, size="64M"):
    process = Paged(size=size)
    if fill:
        process.expect("fill")
    return process, Daemon("--pid", str(process.pid), *RAM, *SSD, *options)


@test("four threads work at random in a quarter of their memory, never more")
def works():
    process, daemon = paged()
    daemon.wait_squeezed()
    limit = Limit(process.object_path(), 16 * MIB).start()
    process.expect("run random 40000 50 4")
    process.expect("verify")
    limit.end()
    daemon.detach()
    process.expect("verify")


@test("every access pattern keeps every byte, with both policies")
def patterns():
    for policy in ("s3fifo", "fifo"):
        process, daemon = paged("--policy", policy)
        for pattern in ("seq", "stride", "zipf", "scan"):
            process.expect(f"run {pattern} 15000 30 2")
        process.expect("verify")
        daemon.detach()


@test("the null tier pages without a disk")
def null_tier():
    process = Paged()
    process.expect("fill")
    daemon = Daemon("--pid", str(process.pid), *RAM, "--tier", "null")
    process.expect("run random 15000 50 2")
    process.expect("verify")
    daemon.detach()
    process.expect("verify")


@test("the limit goes up and down under load, and holds")
def resized():
    process, daemon = paged()
    process.send("run random 60000 50 2")
    for size in ("40M", "8M", "24M", "2M", "16M"):
        daemon.order("set", "--ram", size)
        daemon.wait_squeezed()
    check(process.answer().startswith("ok"), "run")
    process.expect("verify")
    daemon.detach()


@test("zero pages are never written, clean pages not again")
def clean():
    process, daemon = paged(fill=False)
    process.expect("touch 16384")
    status = daemon.status()
    check(status["evictions"]["written"] == 0 and status["evictions"]["zero"] > 10000, status)
    process.expect("fill")
    process.expect("verify")
    before = daemon.status()["evictions"]
    process.expect("verify")
    after = daemon.status()["evictions"]
    check(after["clean"] - before["clean"] > 10000, f"{before} {after}")
    check(after["written"] - before["written"] < 6000, f"{before} {after}")
    daemon.detach()


@test("a read error is retried; one that stays keeps the page out, raises the alarm, and heals")
def read_errors():
    process, daemon = paged()
    daemon.wait_squeezed()
    daemon.order("fault", "ssd.read=EIO%20")
    process.expect("run random 5000 50 2")
    check(daemon.status()["trouble"]["read_errors"] > 0, "no error was met")
    daemon.order("fault", "ssd.read=EIO")
    process.send("verify")
    wait_until(lambda: daemon.status()["trouble"]["lost_pages"] > 0, "the alarm")
    daemon.order("fault", "off")
    check(process.answer() == "ok", "verify")
    check("cannot be read back" in daemon.text() and "after all" in daemon.text(), daemon.text())
    daemon.detach()


@test("bytes that changed on the disk are noticed and never given to the guest")
def corrupted():
    process, daemon = paged()
    daemon.wait_squeezed()
    with open(f"{T}/swap", "r+b", buffering=0) as swap:
        good = swap.read(64 * MIB)
        swap.seek(0)
        swap.write(bytes(255 - x for x in good[:MIB]) + good[MIB:])
        os.fsync(swap.fileno())
        process.send("verify")
        wait_until(lambda: daemon.status()["trouble"]["lost_pages"] > 0, "the alarm")
        swap.seek(0)
        swap.write(good)
        os.fsync(swap.fileno())
    check(process.answer() == "ok", "verify")
    daemon.detach()


@test("while writes fail nothing is lost and the process waits; then it goes on")
def write_errors():
    process, daemon = paged()
    daemon.wait_squeezed()
    daemon.order("fault", "ssd.write=ENOSPC")
    process.send("run random 20000 90 2")
    wait_until(lambda: daemon.status()["trouble"]["writes_fail_now"], "the alarm")
    daemon.order("fault", "off")
    check(process.answer().startswith("ok"), "run")
    check(not daemon.status()["trouble"]["writes_fail_now"], "the alarm ends")
    process.expect("verify")
    daemon.detach()


@test("each step of paging may fail now and then: no byte is lost")
def every_point():
    process, daemon = paged()
    daemon.wait_squeezed()
    for spec in ("uffd.copy=EAGAIN%30", "uffd.copy=ENOMEM%5", "uffd.protect=EAGAIN%20", "evict.read=EIO%20",
                 "evict.punch=EINTR%20", "fill.hash=EIO%10", "ssd.write=EIO%10", "ssd.read=EAGAIN%10"):
        daemon.order("fault", spec)
        process.expect("run random 5000 50 2")
        daemon.order("fault", "off")
        process.expect("verify")
    daemon.detach()
    process.expect("verify")


@test("pages discarded under load (balloon, free page reporting) come back, the others stay")
def discarded():
    process, daemon = paged()
    for n in range(60):
        process.expect(f"discard {random.randrange(15000)} {random.randrange(1, 1000)}")
        process.expect("run random 500 50 2")
    process.expect("verify")
    daemon.detach()
    process.expect("verify")


@test("killed a hundred times at random, the daemon is resumed and no byte is lost")
def killed():
    process, daemon = paged()
    process.send("run random 400000 50 2")
    for _ in range(100 // LESS):
        time.sleep(random.random() * 0.04)  # the point of it: any instant
        daemon.kill()
        daemon = daemon.resume()
    daemon.order("set", "--ram", "60M")  # the rest quickly
    check(process.answer().startswith("ok"), "run")
    process.expect("verify")
    daemon.detach()
    process.expect("verify")


@test("status, its full-screen view, metrics and list tell of a VM; settings change while it runs", tsan=False)
def told():
    process, daemon = paged()
    daemon.order("set", "--policy", "fifo")
    daemon.order("set", "--ram", "24M")
    status = daemon.status()
    check(status["policy"] == "fifo" and status["limit_bytes"] == 24 * MIB, status)
    check(daemon.verb("set", "--policy", "nonsense").returncode == 1, "nonsense is refused")
    check("24M" in daemon.verb("status").stdout, "status")
    metrics = daemon.tell("metrics")
    check(f'vmemdirect_limit_bytes{{vm="t"}} {24 * MIB}' in metrics, metrics)
    for line in metrics.splitlines():
        check(line.startswith("# ") or float(line.rsplit(" ", 1)[1]) >= 0, line)
    check("paged" in daemon.tell("list"), "list")
    screen = subprocess.run(["script", "-qec", f"stty rows 24 cols 100; {B}/vmemdirect status --state "
                             f"{STATE} --watch t", "/dev/null"], input="q", text=True, timeout=60,
                            stdout=subprocess.PIPE, env={**os.environ, "TERM": "xterm"})
    check(screen.returncode == 0 and "resident" in screen.stdout and "cold to hot" in screen.stdout,
          screen.stdout)
    daemon.detach()


@test("a recorded run goes on after a kill, ends with the VM, and is drawn: residency against the limit, faults, the disk", tsan=False)
def recorded():
    process, daemon = paged()
    recorder = subprocess.Popen([f"{B}/vmemdirect", "status", "--state", STATE, "t", "--record", f"{T}/run",
                                 "--every", "0.02"])
    for size in (24, 8):
        daemon.order("set", "--ram", f"{size}M")
        process.expect("run random 3000 50 2")
        wait_until(lambda: os.path.exists(f"{T}/run") and f'"limit_bytes":{size * MIB},' in open(f"{T}/run").read(),
                   "the record of it", alive=recorder)
    daemon.kill()
    daemon = daemon.resume()
    daemon.detach()
    check(recorder.wait(60) == 0, "the recorder's status")
    lines = [json.loads(line) for line in open(f"{T}/run")]
    times = [line["time_s"] for line in lines]
    check(times == sorted(times) and times[0] < 1, times)
    check({24 * MIB, 8 * MIB} <= {line["limit_bytes"] for line in lines}, lines[-1])
    check(max(line["faults"]["tier"] for line in lines) > 0, lines[-1])
    subprocess.run([f"{TOP}/bench/paging/plot", f"{T}/run", f"{T}/run.svg"], check=True)
    curves = xml.etree.ElementTree.parse(f"{T}/run.svg").findall("{http://www.w3.org/2000/svg}polyline")
    check(len(curves) == 8, f"{len(curves)} curves")
    points = [[float(c) for c in p.split(",")] for p in curves[2].get("points").split()]
    check(len(points) == len(lines) and points[0][1] != points[-1][1], "the limit's curve")
    missing = subprocess.run([f"{B}/vmemdirect", "status", "--state", STATE, "t", "--record", f"{T}/none"],
                             stderr=subprocess.PIPE, text=True)
    check(missing.returncode == 1 and not os.path.exists(f"{T}/none"), missing)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(port, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@test("metrics over HTTP are those of the verb, on loopback only; a port that is taken is met before the attach", tsan=False)
def metrics_http():
    port = free_port()
    process, daemon = paged("--metrics", f"127.0.0.1:{port}")
    daemon.wait_squeezed()
    status, text = get(port, "/metrics")
    check(status == 200 and f'vmemdirect_limit_bytes{{vm="t"}} {16 * MIB}' in text, text)
    names = {line.split("{")[0] for line in text.splitlines()}
    check(names == {line.split("{")[0] for line in daemon.tell("metrics").splitlines()}, names)
    check(get(port, "/healthz")[0] == 200 and get(port, "/other")[0] == 404, "paths")
    check(get(port, "/metrics", "POST")[0] == 405, "methods")
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    check(get(port, "/metrics")[0] == 200, "with many who say nothing")
    for s in silent:
        s.close()
    other = Paged(size="16M")
    said = refused("--pid", str(other.pid), *RAM, "--ssd", f"{T}/other", "--metrics", f"{port}", name="other")
    check("cannot listen" in said and f":{port}" in said, said)
    check("loopback" in refused("--pid", str(other.pid), *RAM, *SSD, "--metrics", "0.0.0.0:9403"), "beyond loopback")
    daemon.kill()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        daemon = Daemon(argv=[f"{B}/vmemdirect", "attach", "--state", STATE, "--resume", "t", "--metrics",
                              f"127.0.0.1:{port}"])
    process.expect("verify")
    daemon.detach()


@test("attach --auto-resume attaches anew, and goes on after a kill", tsan=False)
def auto_resume():
    argv = attach_argv("--pid", "PID", *RAM, *SSD, "--auto-resume")
    process = Paged()
    process.expect("fill")
    argv[argv.index("PID")] = str(process.pid)
    for _ in range(3):
        daemon = Daemon(argv=argv)
        daemon.wait_squeezed()
        daemon.kill()
    daemon = Daemon(argv=argv)
    check("again paging" in daemon.text(), daemon.text())
    process.expect("verify")
    daemon.detach()


@test("attached and detached again and again under load, nothing is lost")
def again():
    process = Paged(size="32M")
    process.expect("fill")
    process.send("run random 600000 50 2")
    for _ in range(12):
        daemon = Daemon("--pid", str(process.pid), "--ram", "8M", *SSD)
        daemon.wait_squeezed()
        daemon.detach()
    check(process.answer().startswith("ok"), "run")
    process.expect("verify")


@test("SIGTERM brings everything back and leaves an ordinary process")
def sigterm():
    process, daemon = paged()
    daemon.wait_squeezed()
    daemon.child.terminate()
    check(daemon.child.wait(60) == 0, daemon.text())
    process.expect("verify")


@test("when the process ends the daemon ends, and its files are gone", tsan=False)
def ends():
    process, daemon = paged()
    process.quit()
    check(daemon.child.wait(60) == 0, daemon.text())
    check(not os.path.exists(f"{T}/state/t"), "files are left")


@test("an idle daemon sleeps, and is small")
def idle():
    process, daemon = paged()
    daemon.wait_squeezed()

    def cpu():
        fields = open(f"/proc/{daemon.child.pid}/stat").read().rsplit(")")[-1].split()
        return int(fields[11]) + int(fields[12])

    time.sleep(0.5)
    before = cpu()
    time.sleep(1)
    used = cpu() - before
    check(used <= 3, f"{used} of 100 ticks of a CPU")
    rss = int(open(f"/proc/{daemon.child.pid}/status").read().split("VmRSS:")[1].split()[0]) << 10
    if "san" not in B:
        check(rss <= 16 * 16384 + 32 * MIB, f"{rss} bytes of its own")
    daemon.detach()


main()
