#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""In a guest of migrate_kvm.sh: a working VM moves between two QEMUs under KVM. $SWAP is a disk."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libguest import ACCEL  # noqa: E402
from libmigrate import ODD, Receive, destination, no_paging, source  # noqa: E402
from libpaging import MIB, Limit, check, diag, main, memory_object, test, wait_until  # noqa: E402

MEMORY, WORK, RAM = 160, 60, 50


@test("a working guest under KVM moves into a third of its memory, unpaged until it is here, and verifies all of it")
def kvm():
    check(ACCEL == "kvm", "this is about KVM")
    both = dict(mib=MEMORY, odd=ODD, work_mib=WORK, accesses=0)
    dst = destination(**both)
    receive = Receive(dst, ram=f"{RAM}M", ssd=os.environ["SWAP"])
    src = source(**both)
    src.wait_for("pagework: filled")
    limit = Limit(memory_object(dst.pid), RAM * MIB).start()
    src.migrate_to(receive.port, mb_per_second=20)
    wait_until(lambda: receive.status()["migration"]["again_pages"] > 100, "pages sent again", 400, receive.child)
    no_paging(receive.status())
    src("migrate-set-parameters", **{"max-bandwidth": 10**10, "downtime-limit": 20000})
    check(src.wait_migration("completed", "failed", seconds=400) == "completed", receive.text())
    said = receive.wait_migrated()
    check(said["started"] and said["tier_pages"] > 1000 and said["again_pages"] > 100, said)
    before = receive.status()["faults"]["tier"]
    wait_until(lambda: receive.status()["faults"]["tier"] > before + 300, "paging", 400, receive.child)
    limit.end()
    check(dst.status() == "running" and src.status() == "postmigrate", f"{dst.status()} {src.status()}")
    check(receive.verb("set", "--ram", f"{2 * MEMORY}M").returncode == 0, receive.text())
    dst.go()
    line = dst.wait_for("pagework: verified")
    check(line == f"pagework: verified {WORK * 256} pages, 0 bad", dst.lines[-3:])
    diag(f"{said}; at most {limit.worst >> 20} MiB resident")


main()
