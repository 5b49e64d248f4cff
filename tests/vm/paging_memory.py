#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""What happens to a VM's memory while it is paged: a balloon, free page reporting, a reboot,
memory that is plugged in. The guest verifies every page."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libguest import Guest, Monitor  # noqa: E402
from libpaging import MIB, T, Daemon, Limit, check, main, memory_object, test, wait_until  # noqa: E402

SSD = ("--ssd", f"{T}/swap")


WORK_MIB = 60


def guest(*options, modules=(), append="", slots="", **more):
    """256 MiB, works on some until told, and a second monitor."""
    g = Guest(mib=f"256{slots}", memory="memory-backend-memfd,id=mem0,size=256M,share=on", work_mib=WORK_MIB, accesses=0, hold=True, modules=modules, append=append,
              options=(*options, "-qmp", f"unix:{T}/second,server=on,wait=off"), **more)
    g.wait_for("pagework: filled")
    return g, Monitor(f"{T}/second")


def attach(g):
    return Daemon("--qmp", g.qmp, "--memdev", "mem0", "--ram", "48M", *SSD, name="memory")


def comes_to_its_end(g, daemon):
    """Verified by the guest; the limit held, the daemon has ended with it."""
    g.go()
    check(g.wait_for("pagework: verified").endswith(f"verified {WORK_MIB * 256} pages, 0 bad"), g.lines[-5:])
    check(g.count("BAD") == 0 and g.count("churned") == g.count(" 0 words bad"), g.lines)
    check(daemon.child.wait(60) == 0, daemon.text())


@test("a balloon that the guest's driver inflates and deflates under load takes and gives no wrong byte")
def balloon():
    g, monitor = guest("-device", "virtio-balloon-pci", modules=("virtio_pci", "virtio_balloon"),
                       append="pagework_churn=24")
    daemon = attach(g)
    g.go()
    daemon.wait_squeezed()
    limit = Limit(memory_object(g.pid), 48 * MIB).start()
    for _ in range(4):
        before = g.count("churned")
        for size in (180, 256):
            monitor("balloon", value=size * MIB)
            wait_until(lambda: monitor("query-balloon")["actual"] == size * MIB, f"a balloon to {size}", 300, g.child)
        g.wait_for("churned", nth=before + 2)
    limit.end()
    comes_to_its_end(g, daemon)


@test("pages that the guest reports as free are gone at once, and come back as zeros")
def reporting():
    g, _ = guest("-device", "virtio-balloon-pci,free-page-reporting=on", modules=("virtio_pci", "virtio_balloon"),
                 append="pagework_churn=24 page_reporting.page_reporting_order=0")
    daemon = attach(g)
    g.go()
    daemon.wait_squeezed()
    limit = Limit(memory_object(g.pid), 48 * MIB).start()
    # What was reported is a hole in the object that vmemdirect has not made.
    wait_until(lambda: limit.resident() + 8 * MIB < daemon.status()["resident_bytes"], "a report", 300, g.child)
    g.wait_for("churned", nth=g.count("churned") + 3)
    limit.end()
    comes_to_its_end(g, daemon)


@test("a guest that is reset while it is paged boots again and works in its limit")
def reset():
    g, monitor = guest(reboots=True)
    daemon = attach(g)
    g.go()
    daemon.wait_squeezed()
    limit = Limit(memory_object(g.pid), 48 * MIB).start()
    monitor("system_reset")
    g.wait_for("pagework: filled", nth=2)
    g.go()
    g.go()
    check(g.wait_for("pagework: verified").endswith(" 0 bad"), g.lines[-5:])
    g.wait_for("pagework: starts", nth=3)  # by itself, this time
    limit.end()
    check(daemon.status()["state"] == "paged", daemon.text())
    monitor("quit")
    check(daemon.child.wait(60) == 0, daemon.text())


@test("memory plugged in while the VM is paged is told, works, and is taken in by the next attach")
def plugged():
    g, monitor = guest(slots=",slots=2,maxmem=1G", append="pagework_churn=64 memhp_default_state=online_movable")
    daemon = attach(g)
    g.go()
    daemon.wait_squeezed()
    before = int(g.wait_for("churned").split(" of ")[1].split(",")[0])
    monitor("object-add", **{"qom-type": "memory-backend-memfd", "id": "plugged", "size": 128 * MIB, "share": True})
    monitor("device_add", driver="pc-dimm", id="dimm", memdev="plugged")
    wait_until(lambda: daemon.status()["unpaged_bytes"] == 128 * MIB, "the look at it", 60, daemon.child)
    check("memory backend plugged (128M) is not paged" in daemon.text(), daemon.text())
    wait_until(lambda: g.count(f" of {before + 128},"), "the guest's use of it", 300, g.child)
    daemon.detach()
    daemon = Daemon("--qmp", g.qmp, "--ram", "48M", *SSD, name="memory")
    check(daemon.status()["memory_bytes"] == (256 + 128) * MIB, daemon.status())
    check(daemon.status()["unpaged_bytes"] == 0, daemon.status())
    daemon.wait_squeezed()
    g.wait_for("churned", nth=g.count("churned") + 2)
    g.wait_for("churned", nth=g.count("churned") + 1)
    daemon.detach()
    g.go()
    check(g.wait_for("pagework: verified").endswith(" 0 bad"), g.lines[-5:])


def held(daemon, size):
    """Bytes of the memory object of this size that the daemon has open."""
    stats = [os.stat(entry.path) for entry in os.scandir(f"/proc/{daemon.child.pid}/fd")
             if os.readlink(entry.path).startswith("/memfd:")]
    blocks = [s.st_blocks for s in stats if s.st_size == size]
    check(len(blocks) == 1, stats)
    return blocks[0] * 512


@test("a paged DIMM is unplugged: its pages are dropped, the VM works on, through a kill, to a detach")
def unplugged():
    g, monitor = guest("-object", "memory-backend-memfd,id=extra,size=128M,share=on", "-device",
                       "pc-dimm,id=dimm,memdev=extra", slots=",slots=2,maxmem=1G",
                       append="pagework_churn=64 memhp_default_state=online_movable movable_node")
    daemon = Daemon("--qmp", g.qmp, "--ram", "48M", *SSD, name="memory")
    check(daemon.status()["memory_bytes"] == (256 + 128) * MIB, daemon.status())
    g.go()
    daemon.wait_squeezed()
    with_it = int(g.wait_for("churned").split(" of ")[1].split(",")[0])
    daemon.order("set", "--ram", "200M")  # its kernel moves what lies there
    monitor("device_del", id="dimm")
    wait_until(lambda: not monitor("query-memory-devices"), "the guest to give it back", 300, g.child)
    monitor("object-del", id="extra")
    wait_until(lambda: daemon.status()["unplugged_bytes"] == 128 * MIB, "the look at it", 60, daemon.child)
    check("extra (128M) was unplugged" in daemon.text(), daemon.text())
    # The daemon's descriptor is the last that holds it.
    wait_until(lambda: held(daemon, 128 * MIB) == 0, "the host to have the memory back", 60, daemon.child)
    daemon.order("set", "--ram", "48M")
    daemon.wait_squeezed()
    g.wait_for("churned", nth=g.count("churned") + 2)
    check(g.count(f" of {with_it - 128},") > 0, g.lines[-5:])
    daemon.kill()
    daemon = daemon.resume()
    wait_until(lambda: daemon.status()["unplugged_bytes"] == 128 * MIB, "the look at it", 60, daemon.child)
    g.wait_for("churned", nth=g.count("churned") + 2)
    daemon.detach()
    g.go()
    check(g.wait_for("pagework: verified").endswith(" 0 bad"), g.lines[-5:])
    check(g.count("BAD") == 0 and g.count("churned") == g.count(" 0 words bad"), g.lines)


main()
