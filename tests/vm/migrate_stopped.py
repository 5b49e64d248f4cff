#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""Stopped VMs migrate between stock QEMUs through vmemdirect receive: every byte is compared."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libmigrate import Receive, destination, no_paging, source  # noqa: E402
from libpaging import check, diag, main, test  # noqa: E402


def same(one, other):
    if one == other:
        return
    bad = [i for i in range(0, len(one), 4096) if one[i:i + 4096] != other[i:i + 4096]]
    check(False, f"{len(bad)} of {len(one) // 4096} pages differ: {[i // 4096 for i in bad[:10]]}")


def move(machine, ram, options=(), names=("mem0", "mem0"), mib=64):
    src = source(options=["-S", "-machine", machine], memdev=names[0], mib=mib)
    dst = destination(options=["-machine", machine], memdev=names[1], mib=mib)
    src.fill()
    receive = Receive(dst, *options, ram=ram, memdev=names[1])
    src.migrate_to(receive.port)
    check(src.wait_migration("completed", "failed") == "completed", receive.text())
    said = receive.wait_migrated()
    status = receive.status()
    check(status["state"] == "paged", status)
    no_paging(status)
    check(status["resident_bytes"] <= status["limit_bytes"], status)
    check(said["received_bytes"] > 0 and said["seen_pages"] == mib * 256, said)
    check(not said["started"] and dst.status() != "running", "a VM that was stopped stays stopped")
    check(src.status() != "running", "the source runs")
    return src, dst, receive, said


@test("a q35 VM of 64 MiB lands in 16 MiB and on SSD, without any paging, and no byte differs")
def q35():
    src, dst, receive, said = move("q35", "16M")
    check(said["tier_pages"] > 5000 and said["ram_pages"] > 2000 and said["zero_pages"] > 2000, said)
    check(said["tier_writes"] < said["tier_pages"] / 20, f"small writes: {said}")
    receive.detach()
    same(src.memory(), dst.memory())
    diag(said)


@test("a pc VM that fits goes to RAM alone, and no byte differs")
def pc():
    src, dst, receive, said = move("pc", "100M")
    check(said["tier_pages"] == 0, said)
    receive.detach()
    same(src.memory(), dst.memory())


@test("a source that calls its memory otherwise is renamed, and asked by its own monitor")
def renamed():
    src = source(options=["-S"], memdev="pc.ram")
    dst = destination()
    src.fill(2)
    receive = Receive(dst, "--source-memdev", "pc.ram", "--source-qmp", src.qmp)
    caps = {c["capability"]: c["state"] for c in src("query-migrate-capabilities")}
    check(caps["return-path"], "the source's return path was turned on")
    src.migrate_to(receive.port)
    receive.wait_migrated()
    receive.detach()
    same(src.memory(), dst.memory())


main()
