#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""A stock QEMU guest lives in a quarter of its memory and verifies every page."""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libguest import Guest  # noqa: E402
from libpaging import MIB, T, Daemon, Limit, check, diag, main, memory_object, test, wait_until  # noqa: E402

SSD = ("--ssd", os.environ.get("SWAP", f"{T}/swap"))
WORK = int(os.environ.get("WORK", 100))  # per cent of the accesses


def wait_paged(daemon, faults):
    """Until so many pages more came from the swap file."""
    before = daemon.status()["faults"]["tier"]
    wait_until(lambda: daemon.status()["faults"]["tier"] > before + faults, f"{faults} faults", 400, daemon.child,
               pause=1)  # (a look takes an emulated host's only CPU from the guest)


def all_right(line, pages):
    check(line == f"pagework: verified {pages} pages, 0 bad", line)


@test("a guest attached while it boots works in 25 % of its memory, never more, without a wrong byte")
def quarter():
    guest = Guest(mib=256, work_mib=160, accesses=0, hold=True)  # or it may have ended before the attach
    guest.wait_for("pagework: starts")
    daemon = Daemon("--qmp", guest.qmp, "--memdev", "mem0", "--ram", "64M", *SSD, name="guest")
    daemon.wait_squeezed()
    limit = Limit(memory_object(guest.pid), 64 * MIB).start()
    guest.go()
    wait_paged(daemon, 100 * WORK)
    faults = daemon.status()["faults"]
    guest.go()
    all_right(guest.wait_for("pagework: verified"), 160 * 256)
    limit.end()
    check(daemon.child.wait(60) == 0, "the daemon ends with the guest")
    check("has ended" in daemon.text(), daemon.text())
    diag(f"{limit.samples} looks at the limit, {limit.worst >> 20} MiB at most; faults {faults}")


@test("a guest with two vCPUs is attached full, squeezed, resized and detached while it works")
def squeeze():
    guest = Guest(mib=256, cpus=2, work_mib=140, accesses=0, hold=True)
    guest.wait_for("pagework: filled")
    daemon = Daemon("--qmp", guest.qmp, "--ram", "128M", *SSD, name="guest")
    guest.go()
    daemon.wait_squeezed()
    daemon.order("set", "--ram", "64M")
    daemon.wait_squeezed()
    wait_paged(daemon, 100 * WORK)
    daemon.order("set", "--ram", "100M")
    daemon.detach()
    guest.go()
    all_right(guest.wait_for("pagework: verified"), 140 * 256)
    check(not os.path.exists(f"{T}/state/guest/pages"), "the journal is removed")


@test("the daemon is killed a hundred times at random, while it comes up too, and the guest finds every byte")
def killed():
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    chance = random.Random(seed)
    diag(f"SEED={seed}")
    guest = Guest(mib=256, work_mib=140, accesses=0)
    guest.wait_for("pagework: starts")
    daemon = Daemon("--qmp", guest.qmp, "--ram", "64M", *SSD, name="guest")
    guest.wait_for("pagework: filled")
    daemon.wait_squeezed()
    limit = Limit(memory_object(guest.pid), 64 * MIB).start()
    for _ in range(100):
        if chance.random() < 0.7:  # the others while it comes up
            daemon.wait_up()
        time.sleep(chance.random() * 0.3)  # the point of it: any instant
        daemon.kill()
        daemon = daemon.resume(wait=False)
    daemon.wait_up()
    wait_paged(daemon, 50 * WORK)
    guest.go()
    all_right(guest.wait_for("pagework: verified"), 140 * 256)
    limit.end()
    check(daemon.child.wait(60) == 0, daemon.text())


main()
