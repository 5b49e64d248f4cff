#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""A stock QEMU whose disk is slow and opened with cache=none: blocks arrive seconds after their
pages were pinned for them. The kernel throttles the disk, so that it is the pinned bio that waits."""
import array
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libguest import Guest  # noqa: E402
from libpaging import TOP, T, Daemon, check, diag, main, test, wait_until  # noqa: E402

IOPS = 8  # sixteen reads are under way: each takes two seconds
DISK = ("-drive", f"file={T}/disk,format=raw,if=none,id=d,cache=none", "-device", "virtio-blk-pci,drive=d")


def put(path, text):
    with open(path, "w") as file:
        file.write(text)


def whole_disk():
    """MAJOR:MINOR of the disk below T."""
    dev = os.stat(T).st_dev
    path = os.path.realpath(f"/sys/dev/block/{os.major(dev)}:{os.minor(dev)}")
    check(os.path.exists(path), f"{T} does not lie on a disk of its own: set TMPDIR")
    return open((f"{path}/.." if os.path.exists(f"{path}/partition") else path) + "/dev").read().strip()


class Throttle:
    """A cgroup (of either version) whose reads from the disk are so slow."""

    def __init__(self, pid):
        self.v1 = os.path.isdir("/sys/fs/cgroup/blkio")
        self.folder = f"/sys/fs/cgroup/{'blkio/' if self.v1 else ''}remem-{os.getpid()}"
        self.pid, self.disk = pid, whole_disk()
        if not self.v1:
            put("/sys/fs/cgroup/cgroup.subtree_control", "+io")
        os.mkdir(self.folder)
        self.set(IOPS)
        put(f"{self.folder}/cgroup.procs", str(pid))

    def set(self, iops):
        if self.v1:
            put(f"{self.folder}/blkio.throttle.read_iops_device", f"{self.disk} {iops}")
        else:
            put(f"{self.folder}/io.max", f"{self.disk} riops={iops or 'max'}")

    def end(self):
        self.set(0)


def run(enough, *options):
    """A guest's life, paged, until enough(guest, daemon): reads right and wrong, and the daemon."""
    with open(f"{T}/disk", "wb") as disk:
        array.array("Q", ((i + 1) * 0x9e3779b97f4a7c15 & (1 << 64) - 1 for i in range(1 << 19))).tofile(disk)
    guest = Guest(mib=176, options=DISK, modules=("virtio_pci", "virtio_blk"), source=f"{TOP}/tests/vm/pageio.c",
                  append="pageio_mib=80 pageio_disk=1")
    guest.wait_for("pageio: filled")
    throttle = Throttle(guest.pid)
    try:
        daemon = Daemon("--qmp", guest.qmp, "--ram", "44M", "--ssd", f"{T}/swap", "--policy", "fifo", *options,
                        name="guest")
        daemon.wait_squeezed()
        guest.go()
        wait_until(lambda: enough(guest, daemon), "enough reads", 300, daemon.child)
        status = daemon.status()
        guest.go()
        throttle.end()
        line = guest.wait_for("bytes streamed")
        right, wrong, _, _, pages = (int(n) for n in re.findall(r"\d+", line))
        check(pages == 0, line)
        check(daemon.child.wait(60) == 0, daemon.text())
        diag(f"{line}; evictions {status['evictions']}")
    finally:
        guest.child.kill()
        guest.child.wait()
        os.rmdir(throttle.folder)
    return right, wrong, daemon


@test("blocks that a slow disk with cache=none reads into pages under eviction are right")
def cache_none():
    def enough(guest, daemon):
        return guest.count("read right") > 40 and daemon.status()["evictions"]["pinned"] > 100 \
            or guest.count("read wrong")
    _, wrong, _ = run(enough)
    check(wrong == 0, f"{wrong} reads were wrong")


@test("negative control: without the pin check they are not")
def without():
    _, wrong, daemon = run(lambda guest, daemon: guest.count("read wrong"), "--pin", "off", "--force")
    check(wrong > 0, "nothing was lost")
    check("may be LOST" in daemon.text(), daemon.text())


main()
