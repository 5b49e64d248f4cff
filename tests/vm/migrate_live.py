#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
"""A guest that works migrates through vmemdirect receive into less memory than it has, and
verifies every page there; and the controls that show what the test can see."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libmigrate import ODD, Receive, destination, no_paging, source  # noqa: E402
from libpaging import MIB, Limit, check, diag, main, memory_object, test, wait_until  # noqa: E402

WORK = 60


def guests(*options, receive=True, env=None):
    """Two QEMUs and what is between them; the first one's guest has just begun to work."""
    both = dict(mib=160, odd=ODD, work_mib=WORK, accesses=0)
    dst = destination(**both)
    router = Receive(dst, *options, ram="50M", env=env) if receive else None
    src = source(**both)
    src.wait_for("pagework: filled")
    return src, dst, router


def end_migration(src, enough, alive):
    """Slow until enough was sent again, then as fast as it goes."""
    wait_until(enough, "pages that are sent again", 240, alive)
    src("migrate-set-parameters", **{"max-bandwidth": 10**10, "downtime-limit": 5000})
    return src.wait_migration("completed", "failed")


def all_of_it(receive, dst):
    """The guest comes to the end of its work, faster in all of its memory."""
    done = receive.verb("set", "--ram", "200M")
    check(done.returncode == 0 or receive.child.poll() is not None, done.stderr)
    try:
        dst.go()
    except BrokenPipeError:
        dst.child.wait(60)  # one that lost updates may have crashed


def again(receive, key, pages):
    return lambda: receive.status()["migration"][key] >= pages


@test("a working guest moves into a third of its memory: hot pages overtake their copies on SSD, nothing is paged")
def live():
    src, dst, receive = guests()
    limit = Limit(memory_object(dst.pid), 50 * MIB).start()
    src.migrate_to(receive.port, mb_per_second=120)
    ended = end_migration(src, again(receive, "again_tier_pages", 200), receive.child)
    check(ended == "completed", receive.text())
    said = receive.wait_migrated()
    check(said["again_tier_pages"] >= 200 and said["promoted_pages"] > 0, said)
    check(said["started"] and said["in_ram_pages"] <= 50 * 256, said)
    wait_until(lambda: receive.status()["faults"]["tier"] > 1000, "paging", 240, receive.child)
    limit.end()
    all_of_it(receive, dst)
    check(dst.wait_for("pagework: verified") == f"pagework: verified {WORK * 256} pages, 0 bad", dst.lines[-3:])
    check(src.status() == "postmigrate", src.status())
    diag(f"{said}; at most {limit.worst >> 20} MiB resident")


@test("until the hand-over nothing is read back and nothing evicted, pages sent again included")
def quiet():
    src, dst, receive = guests("--paused")
    src.migrate_to(receive.port, mb_per_second=120)
    check(end_migration(src, again(receive, "again_pages", 200), receive.child) == "completed", receive.text())
    receive.wait_migrated()
    no_paging(receive.status())
    check(dst.status() == "paused" and src.status() == "postmigrate", "--paused leaves the start to others")
    all_of_it(receive, dst)
    dst("cont")
    check(dst.wait_for("pagework: verified") == f"pagework: verified {WORK * 256} pages, 0 bad", dst.lines[-3:])


@test("negative control: when a third of the updates are dropped the guest does not verify")
def dropped():
    src, dst, receive = guests(env={"REMEM_FAULTS": "place.again=EIO%33"})
    src.migrate_to(receive.port, mb_per_second=120)
    end_migration(src, again(receive, "again_pages", 2000), receive.child)
    receive.wait_migrated()
    all_of_it(receive, dst)
    dst.child.wait(300)
    dst.reader.join()
    bad = [x for x in dst.lines if x and "BAD" in x]
    fine = [x for x in dst.lines if x and x.startswith("pagework: verified") and x.endswith(" 0 bad")]
    check(not fine, f"lost updates were not noticed: {dst.lines[-5:]}")
    diag(f"{len(bad)} bad pages seen; last: {dst.lines[-2:]}")


@test("control without the router: two stock QEMUs move the same guest by themselves")
def control():
    src, dst, _ = guests(receive=False)
    path = f"{dst.qmp}.incoming"
    dst("migrate-incoming", uri=f"unix:{path}")
    src("migrate-set-capabilities", capabilities=[{"capability": "return-path", "state": True}])
    src("migrate-set-parameters", **{"max-bandwidth": 10**10, "downtime-limit": 5000})
    src("migrate", uri=f"unix:{path}")
    check(src.wait_migration("completed", "failed") == "completed", src.migration())
    dst.go()
    check(dst.wait_for("pagework: verified") == f"pagework: verified {WORK * 256} pages, 0 bad", dst.lines[-3:])


main()
