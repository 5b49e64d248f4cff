#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
"""VMs migrate through vmemdirect receive into RAM, onto SSD and to exports of memservers, and
work there while sub-hosts die."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libmigrate import ODD, Receive, destination, no_paging, source  # noqa: E402
from libpaging import MIB, check, diag, main, wait_until  # noqa: E402
from libspill import SubHost, spilled  # noqa: E402

WORK = 60
SILENT_S = 4  # more than NBD_SILENT_MS
VERIFIED = f"pagework: verified {WORK * 256} pages, 0 bad"


def spill(*hosts):
    return [word for host in hosts for word in host.spill()]


def stopped(machine, *options, **more):
    """Two QEMUs of 64 MiB, the first one's memory filled, and what is between them."""
    src = source(options=["-S", "-machine", machine])
    dst = destination(options=["-machine", machine])
    src.fill()
    return src, dst, Receive(dst, *options, **more)


def same(one, other):
    bad = [i for i in range(0, len(one), 4096) if one[i:i + 4096] != other[i:i + 4096]]
    check(not bad, f"{len(bad)} of {len(one) // 4096} pages differ: {[i // 4096 for i in bad[:10]]}")


def places(receive):
    return receive.status()["tier"]["places"]


def tier(receive):
    return receive.status()["tier"]


@spilled("a q35 VM lands in RAM, on SSD and on two sub-hosts, without any paging, and no byte differs")
def composed():
    a, b = SubHost("32M"), SubHost("24M")
    src, dst, receive = stopped("q35", "--ssd-size", "8M", *spill(a, b))
    src.migrate_to(receive.port)
    check(src.wait_migration("completed", "failed") == "completed", receive.text())
    said = receive.wait_migrated()
    no_paging(receive.status())
    used = [p["used_bytes"] for p in places(receive)]
    check(said["in_ram_pages"] > 2000 and used[0] > 7 * MIB and min(used[1:]) > 4 * MIB, f"{said} {used}")
    receive.detach()
    same(src.memory(), dst.memory())
    for host in (a, b):
        check(host.wait_stored(4096, "x") or not host.stored("x"), "the memory is not given back")
    diag(f"{said} {used}")


@spilled("a VM without zero pages lands where memory and sub-host only just hold it, and no byte differs")
def just_fits():
    host = SubHost("49M")  # of 64, with 16 less the head-room in memory
    src, dst, receive = stopped("q35", *spill(host), ssd="")
    src.fill(2, zero=0)
    src.migrate_to(receive.port)
    check(src.wait_migration("completed", "failed") == "completed", receive.text())
    receive.wait_migrated()
    no_paging(receive.status())
    receive.verb("set", "--ram", "70M")
    receive.detach()
    same(src.memory(), dst.memory())


@spilled("a pc VM on two sub-hosts without an SSD: one dies while the memory comes in, and no byte differs")
def mirrored_stopped():
    a, b = SubHost(), SubHost()
    src, dst, receive = stopped("pc", "--mirror", "2", *spill(a, b), ssd="")
    src.migrate_to(receive.port, mb_per_second=20)
    wait_until(lambda: receive.status()["migration"]["tier_pages"] > 1000, "pages to the tier", 240, receive.child)
    a.kill()
    check(src.wait_migration("completed", "failed") == "completed", receive.text())
    receive.wait_migrated()
    check(tier(receive)["degraded_pages"] > 0, tier(receive))
    a.start()
    wait_until(lambda: not tier(receive)["alarm"], "the second copies", 240, receive.child)
    b.kill()
    receive.detach()
    same(src.memory(), dst.memory())


@spilled("the only sub-host dies while the memory comes in: the migration fails and the source keeps the VM")
def lost_on_the_way():
    host = SubHost()
    src, dst, receive = stopped("q35", *spill(host), ssd="")
    src.migrate_to(receive.port, mb_per_second=20)
    wait_until(lambda: receive.status()["migration"]["tier_pages"] > 1000, "pages to the tier", 240, receive.child)
    host.kill()
    check(receive.wait_end() == 1, receive.text())
    check(src.wait_migration("completed", "failed") == "failed", receive.text())
    wait_until(lambda: dst.status() == "gone" or dst.status() == "inmigrate", "the destination not to run")
    check("writing to the tier failed" in receive.text(), receive.text())


@spilled("a source that says nothing for longer than a sub-host may costs nothing: the memserver is not taken for lost")
def slow_source():
    host = SubHost()
    src, dst, receive = stopped("q35", *spill(host), ssd="")
    src.migrate_to(receive.port, mb_per_second=20)
    wait_until(lambda: receive.status()["migration"]["tier_pages"] > 1000, "pages to the tier", 240, receive.child)
    src.child.send_signal(signal.SIGSTOP)
    silent_since = time.monotonic()
    wait_until(lambda: time.monotonic() - silent_since > SILENT_S, "time to pass")
    src.child.send_signal(signal.SIGCONT)
    check(src.wait_migration("completed", "failed") == "completed", receive.text())
    receive.wait_migrated()
    check(places(receive)[0]["losses"] == 0 and "is lost" not in receive.text(), receive.text())
    receive.detach()
    same(src.memory(), dst.memory())


def working(*options):
    both = dict(mib=160, odd=ODD, work_mib=WORK, accesses=0)
    dst = destination(**both)
    receive = Receive(dst, *options, ram="50M", ssd="")
    src = source(**both)
    src.wait_for("pagework: filled")
    src.migrate_to(receive.port, mb_per_second=200)
    wait_until(lambda: receive.status()["migration"]["again_pages"] > 100, "pages sent again", 240, receive.child)
    src("migrate-set-parameters", **{"max-bandwidth": 10**10, "downtime-limit": 5000})
    check(src.wait_migration("completed", "failed") == "completed", receive.text())
    receive.wait_migrated()
    return dst, receive


@spilled("a working guest moves into a third of its memory and goes on while either of two sub-hosts dies")
def mirrored_working():
    a, b = SubHost("200M"), SubHost("200M")
    dst, receive = working("--mirror", "2", *spill(a, b))
    for gone in (a, b):
        gone.kill()
        wait_until(lambda: tier(receive)["alarm"], "the alarm", 120, receive.child)
        before = receive.status()["faults"]["tier"]
        wait_until(lambda: receive.status()["faults"]["tier"] > before + 200, "paging", 240, receive.child)
        check(dst.status() == "running", dst.status())
        gone.start()
        wait_until(lambda: not tier(receive)["alarm"], "the second copies", 240, receive.child)
    check(receive.status()["trouble"]["lost_pages"] == 0, receive.status()["trouble"])
    receive.verb("set", "--ram", "200M")
    dst.go()
    check(dst.wait_for("pagework: verified") == VERIFIED, dst.lines[-3:])


@spilled("the only sub-host dies under a working guest: vmemdirect answers whatever QEMU does, and the guest goes on")
def only_one_dies():
    host = SubHost("200M")
    dst, receive = working(*spill(host))
    host.kill()
    wait_until(lambda: receive.status()["trouble"]["vm_order"] != "", "QEMU to be told to stop", 120, receive.child)
    check(receive.status()["trouble"]["lost_pages"] > 0, receive.status()["trouble"])
    host.start()
    wait_until(lambda: receive.status()["trouble"]["vm_order"] == "", "the VM to go on", 240, receive.child)
    wait_until(lambda: dst.status() == "running", "QEMU to say so", 60, receive.child)
    receive.verb("set", "--ram", "200M")
    dst.go()
    check(dst.wait_for("pagework: verified") == VERIFIED, dst.lines[-3:])


main()
