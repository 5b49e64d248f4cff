#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# flavour: asan
# timeout: 900
"""Every place where paging can fail, with the errors the kernel or a disk can give there: now and then
(nobody is to see it), and always until it is switched off (what is seen, stands in the table). No page
is lost or torn, and work goes on afterwards."""
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libpaging import T, Daemon, Paged, check, diag, main, refused, test, wait_until  # noqa: E402

PAGES = 6144
# What is seen while a place always fails. In all cases the process waits, and goes on afterwards.
WAITS, ALARM_STORE, ALARM_LOST, NO_SAMPLING, UNSEEN = "waits", "store", "lost", "no sampling", "unseen"

TABLE = (
    # place, errors, per cent for now and then, always
    ("uffd.read", ("EAGAIN", "EINTR"), 60, WAITS),          # messages of faults
    ("uffd.copy", ("EAGAIN", "ENOMEM"), 8, WAITS),         # a page into place
    ("uffd.copy_short", ("EAGAIN",), 60, UNSEEN),           # one page only of many
    ("uffd.exists", ("EEXIST",), 60, UNSEEN),               # somebody else has put it there meanwhile
    ("uffd.zero", ("EAGAIN", "ENOMEM"), 8, WAITS),         # new and discarded pages
    ("uffd.protect", ("EAGAIN", "ENOMEM", "ENOENT"), 25, WAITS),
    ("uffd.unprotect", ("EAGAIN", "ENOMEM"), 25, WAITS),    # a write waits for it
    ("evict.read", ("EIO", "ENOMEM"), 25, WAITS),           # out of the object
    ("evict.punch", ("EINTR", "ENOMEM"), 25, WAITS),        # the hole
    ("evict.hole", ("EBUSY",), 25, WAITS),                  # ... was not made, the bytes are zeroed
    ("sample.unmap", ("EINTR", "EAGAIN"), 25, UNSEEN),      # process_madvise, passing
    ("sample.unmap", ("EPERM",), 25, NO_SAMPLING),          # ... forbidden
    ("sample.mapped", ("EIO",), 25, UNSEEN),                # pagemap
    ("ring.submit", ("EAGAIN", "ENOMEM"), 25, WAITS),       # requests to the kernel
    ("ssd.write", ("EIO", "ENOSPC", "EAGAIN"), 15, ALARM_STORE),
    ("ssd.read", ("EIO", "EAGAIN", "ENOMEM"), 5, ALARM_LOST),
    ("ssd.short", ("EIO",), 5, ALARM_LOST),                 # half of what was asked for
    ("fill.hash", ("EIO",), 5, ALARM_LOST),                 # other bytes than were written
)


def paged(**more):
    process = Paged(size="24M", **more)
    process.expect("fill")
    daemon = Daemon("--pid", str(process.pid), "--ram", "6M", "--ssd", f"{T}/swap")
    daemon.wait_squeezed()
    return process, daemon


def points(daemon):
    return {p["name"]: p for p in json.loads(daemon.verb("fault").stdout)}


def fired(daemon, place):
    return points(daemon)[place].get("fired", 0)


def discards():
    """So that pages want zeros, resident ones (the end is, after the squeeze) and others."""
    return [f"discard {first + random.randrange(300)} {random.randrange(100, 200)}"
            for first in (0, PAGES // 2, PAGES - 500)]


def discard(process):
    for line in discards():
        process.expect(line)


def now_and_then(place, error, percent):
    process, daemon = paged()
    daemon.order("fault", f"{place}={error}%{percent}")
    discard(process)
    process.expect("run random 1500 50 2")
    process.expect("run seq 5000 20 1")  # runs of pages
    check(fired(daemon, place) > 0, f"{place} was never passed")
    process.expect("verify")
    daemon.order("fault", "off")
    process.expect("run random 500 50 2")
    trouble = daemon.status()["trouble"]
    check(not trouble["lost_pages"] and not trouble["writes_fail_now"], trouble)
    daemon.detach()
    process.expect("verify")


def seen(daemon, always):
    trouble = daemon.status()["trouble"]
    return {ALARM_STORE: lambda: trouble["writes_fail_now"], ALARM_LOST: lambda: trouble["lost_pages"] > 0,
            NO_SAMPLING: lambda: "sampling is off" in daemon.text()}.get(always, lambda: True)()


def for_a_while(place, error, always):
    process, daemon = paged()
    daemon.order("fault", f"{place}={error}")
    work = [*discards(), "run random 2500 50 2"]
    for line in work:
        process.send(line)

    def works():
        for line in work:
            said = process.answer()
            check(said.split(" ")[0] == "ok", f"{line}: {said}")

    wait_until(lambda: fired(daemon, place) >= (1 if always == NO_SAMPLING else 5), f"{place} to be passed", alive=daemon.child)
    wait_until(lambda: seen(daemon, always), f"{always}", alive=daemon.child)
    if always == UNSEEN or always == NO_SAMPLING:
        works()
        daemon.order("fault", "off")
    else:
        daemon.order("fault", "off")
        works()
    process.expect("run random 500 50 2")
    process.expect("verify")
    trouble = daemon.status()["trouble"]
    check(not trouble["writes_fail_now"], trouble)
    check(always == ALARM_LOST or not trouble["lost_pages"], trouble)
    check(always != ALARM_LOST or "after all" in daemon.text(), daemon.text())
    daemon.detach()
    process.expect("verify")


def row(place, errors, percent, always):
    @test(f"{place}, now and then {' or '.join(errors)}: every byte stays, nobody sees it")
    def sometimes():
        for error in errors:
            now_and_then(place, error, percent)

    @test(f"{place}, always {' or '.join(errors)} ({always}): every byte stays, and work goes on afterwards")
    def at_all_times():
        for error in errors:
            for_a_while(place, error, always)


for _row in TABLE:
    row(*_row)


@test("an attach that fails at its very last step has taken no page away")
def last_step():
    process = Paged(size="64M")
    process.expect("fill")
    for _ in range(10):
        said = refused("--pid", str(process.pid), "--ram", "6M", "--ssd", f"{T}/last", env={"REMEM_FAULTS": "start.stage=EPERM"})
        check("the pager does not start" in said, said)
    process.expect("verify")
    daemon = Daemon("--pid", str(process.pid), "--ram", "6M", "--ssd", f"{T}/last")
    process.expect("verify")
    daemon.detach()


@test("the table has every place of the pager and of the SSD tier")
def complete():
    process, daemon = paged()
    mine = {p for p in points(daemon) if p.split(".")[0] in ("uffd", "evict", "fill", "sample", "ssd", "ring", "stage", "pin")}
    check(mine == {r[0] for r in TABLE}, f"{mine ^ {r[0] for r in TABLE}}")
    daemon.detach()


@test("the process vanishes at any instant, and whatever fails just then: the daemon ends, nothing is left")
def vanished():
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    diag(f"seed {seed}")
    for spec in (None, None, None, "uffd.copy=ENOMEM", "uffd.zero=ENOMEM", "uffd.protect=EAGAIN", "uffd.unprotect=EAGAIN",
                 "evict.punch=EINTR", "evict.read=EIO", "ssd.read=EIO", "ssd.write=ENOSPC", "sample.unmap=EPERM"):
        process, daemon = paged()
        if spec:
            daemon.order("fault", spec)
        for line in (*discards(), "run random 200000 50 2"):
            process.send(line)
        if spec:
            wait_until(lambda: fired(daemon, spec.split("=")[0]) > 0, spec, alive=daemon.child)
        time.sleep(chance.random() * 0.2)  # the point of it: any instant
        process.child.kill()
        check(daemon.child.wait(120) == 0, f"{spec}: {daemon.text()}")
        check(not os.path.exists(f"{T}/state/t"), "files are left")


main()
