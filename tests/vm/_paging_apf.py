#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""In a guest of paging_apf.sh, which has /dev/kvm and dm-delay: a KVM guest with one vCPU whose threads
touch pages that are out, on a disk where each read takes long. How many of them are read at a time?

    _paging_apf.py [stock|halted|serial ...]

KVM can put a vCPU that meets a missing page to other use in two ways: the guest's kernel is told and
runs another thread (asynchronous page faults; `stock`), or, if it has not asked for that (no-kvmapf;
`halted`), the vCPU waits as if by HLT, and the next timer tick may choose another thread. Where the
guest's HLT is its own (cpu-pm=on) and no-kvmapf is given (`serial`), KVM has neither way: one fault at
a time. A line "# apf {JSON}" for each tells times and counts."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
os.environ["ACCEL"] = "kvm"
from libguest import Guest  # noqa: E402
from libpaging import TOP, Daemon, check, diag, main, test  # noqa: E402

THREADS, PAGES = 4, int(os.environ.get("APF_PAGES", 16))
DELAY_MS = int(os.environ.get("APF_DELAY_MS", 100))  # of each read: long, whatever else the machine does
SLOW = "/dev/dm-0"
TRACE = "/sys/kernel/debug/tracing"
EVENTS = ("kvm_async_pf_not_present", "kvm_async_pf_ready")


def delay_reads(ms):
    sectors = int(open("/sys/block/ram0/size").read())
    table = ["--table", f"0 {sectors} delay /dev/ram0 0 {ms} /dev/ram0 0 0"]
    steps = (["reload", *table], ["suspend"], ["resume"]) if os.path.exists(SLOW) else (["create", *table],)
    for verb, *options in steps:
        subprocess.run(["dmsetup", verb, "slow", "--noudevsync", *options], check=True)


def trace(on):
    for event in EVENTS:
        with open(f"{TRACE}/events/kvm/{event}/enable", "w") as file:
            file.write("1" if on else "0")
    if on:
        open(f"{TRACE}/trace", "w").close()


def traced():
    lines = open(f"{TRACE}/trace").read()
    return {event: lines.count(f" {event}:") for event in EVENTS}


def run(kind, append="", options=()):
    delay_reads(0)
    guest = Guest(mib=160, source=f"{TOP}/tests/vm/pageapf.c", name=kind, options=options,
                  append=f"{append} pageapf_mib=72 pageapf_threads={THREADS} pageapf_pages={PAGES}")
    guest.wait_for("pageapf: filled")
    daemon = Daemon("--qmp", guest.qmp, "--ram", "6M", "--ssd", SLOW, "--prefetch", "0", name=kind)
    daemon.wait_squeezed(400)
    daemon.order("set", "--ram", "160M")
    guest.go()  # what its kernel needs is there after this
    guest.wait_for("pageapf: read")
    delay_reads(DELAY_MS)
    before = daemon.status()["faults"]
    trace(True)
    guest.go()
    line = guest.wait_for("pageapf: read", nth=2)
    trace(False)
    after = daemon.status()["faults"]
    pages, took, bad, interrupts = (int(n) for n in re.findall(r"\d+", line))
    said = {"kind": kind, "ms": took, "pages": pages, "faults": after["tier"] - before["tier"],
            "reading_most": after["reading_most"], "interrupts": interrupts, "delay_ms": DELAY_MS, **traced()}
    diag(f"apf {json.dumps(said)}")
    check(bad == 0, line)
    check(said["faults"] >= pages // 2, f"hardly anything was out: {said}")
    return said


def stock():
    said = run("stock")
    check(said["interrupts"] > 0, f"KVM told the guest of no page: {said}")
    check(said["kvm_async_pf_not_present"] > 0, said)
    check(said["reading_most"] > 1, f"one vCPU had one page under way only: {said}")


def halted():
    said = run("halted", append="no-kvmapf")
    check(said["interrupts"] == 0, f"KVM told a guest that had not asked: {said}")
    check(said["kvm_async_pf_not_present"] > 0, f"the vCPU was not even halted: {said}")


def serial():
    said = run("serial", append="no-kvmapf", options=("-overcommit", "cpu-pm=on"))
    check(said["interrupts"] == 0 and said["kvm_async_pf_not_present"] == 0, said)
    check(said["reading_most"] == 1, f"more than one fault of a vCPU that cannot leave its fault: {said}")


CASES = {
    "stock": (stock, "a stock guest with one vCPU has several pages on their way from a slow disk"),
    "halted": (halted, "with no-kvmapf it is never told of a page that came"),
    "serial": (serial, "where KVM may not even halt the vCPU, one page is read at a time, never more"),
}
kinds = sys.argv[1:] or list(CASES)
sys.argv[1:] = []
for name in kinds:
    test(CASES[name][1])(CASES[name][0])
main()
