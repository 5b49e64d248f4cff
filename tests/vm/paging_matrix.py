#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""Attaching to a stock QEMU started in all the ways it can be: it works, or says why not."""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libguest import Guest  # noqa: E402
from libpaging import (B, STATE, T, Daemon, check, main, refused, spawn, test,  # noqa: E402
                       wait_until)

SSD = ("--ssd", f"{T}/swap")
MIB = 128
LONG = 10000000  # accesses: until the test ends it
SYSCTL = "/proc/sys/vm/unprivileged_userfaultfd"


def guest(memory="memory-backend-memfd,id=mem0,size=128M,share=on", options=(), accesses=3000):
    return Guest(mib=MIB, work_mib=50, accesses=accesses, memory=memory, options=options, name="matrix",
                 hold=True)


def works(g):
    """Paged, verified by the guest to its end."""
    g.wait_for("pagework: filled")
    daemon = Daemon("--qmp", g.qmp, "--ram", "32M", *SSD, name="matrix")
    g.go()
    line = g.wait_for("pagework: verified")
    check(line.endswith(" 0 bad"), line)
    check(daemon.child.wait(60) == 0, daemon.text())


def is_refused(g, *wanted, options=()):
    """Refused; the guest goes on."""
    g.wait_for("pagework: starts")
    said = refused("--qmp", g.qmp, "--ram", "32M", *SSD, *options, name="matrix")
    for want in wanted:
        check(want in said, f"'{want}' is not in: {said}")
    check(g.child.poll() is None, "the guest has ended")


@test("memfd, preallocated, not sealed")
def prealloc():
    works(guest("memory-backend-memfd,id=mem0,size=128M,share=on,prealloc=on,seal=off"))


@test("a file on tmpfs")
def shm_file():
    path = f"/dev/shm/paging-matrix-{os.getpid()}"
    try:
        works(guest(f"memory-backend-file,id=mem0,size=128M,share=on,mem-path={path}"))
    finally:
        if os.path.exists(path):
            os.unlink(path)


@test("QEMU's sandbox with everything denied")
def sandbox():
    works(guest(options=("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")))


@test("two vCPUs and a second monitor")
def two_monitors():
    works(guest(options=("-smp", "2", "-qmp", f"unix:{T}/second,server=on,wait=off")))


@test("a QEMU that gave its privileges up is refused with the sysctl to set, and works with it")
def nobody():
    os.chmod(T, 0o755)
    before = open(SYSCTL).read()
    g = guest(options=("-runas", "nobody"))
    g.wait_for("pagework: filled")
    try:
        if before.strip() == "0":
            said = refused("--qmp", g.qmp, "--ram", "32M", *SSD, name="matrix")
            check("vm.unprivileged_userfaultfd" in said, said)
        with open(SYSCTL, "w") as file:
            file.write("1")
        daemon = Daemon("--qmp", g.qmp, "--ram", "32M", *SSD, name="matrix")
    finally:
        with open(SYSCTL, "w") as file:
            file.write(before)
    g.go()
    check(g.wait_for("pagework: verified").endswith(" 0 bad"), g.lines)
    check(daemon.child.wait(60) == 0, daemon.text())


@test("private memory (share=off) is refused")
def private():
    is_refused(guest("memory-backend-memfd,id=mem0,size=128M,share=off", accesses=LONG), "share=off", "share=on")


@test("a memory backend that is not there is refused")
def no_backend():
    is_refused(guest(accesses=LONG), "no memory backend of that name", options=("--memdev", "mem7"))


@test("a disk with cache=none needs the pin check")
def cache_none():
    with open(f"{T}/disk", "wb") as disk:
        disk.truncate(1 << 20)
    drive = ("-drive", f"file={T}/disk,format=raw,cache=none,if=virtio")
    is_refused(guest(options=drive, accesses=LONG), "O_DIRECT", "cache=writeback", options=("--pin", "off"))


@test("a vhost-user disk, whose backend has mapped the memory, is refused with the process that did")
def vhost_user():
    with open(f"{T}/disk", "wb") as disk:
        disk.truncate(1 << 20)
    backend = spawn(["qemu-storage-daemon", "--blockdev", f"driver=file,node-name=d,filename={T}/disk",
                     "--export", f"vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path={T}/vhost"])
    wait_until(lambda: os.path.exists(f"{T}/vhost"), "the backend", alive=backend)
    # It gets the memory when a driver starts the device: here the firmware's, on its way to the kernel.
    g = guest(options=("-chardev", f"socket,id=c,path={T}/vhost", "-device",
                       "vhost-user-blk-pci,chardev=c,bootindex=1"), accesses=LONG)
    is_refused(g, f"process {backend.pid}", "vhost-user", "vhost-net")


VIRSH = """#!/usr/bin/python3
import json, os, socket, sys
assert sys.argv[1:4] == ["--quiet", "qemu-monitor-command", "--domain"] and sys.argv[5] == "--cmd", sys.argv
if sys.argv[4] != "matrix":
    sys.exit("error: failed to get domain " + sys.argv[4])
s = socket.socket(socket.AF_UNIX)
s.connect(os.environ["MATRIX_QMP"])
f = s.makefile("rw")
f.readline()
for command in (json.dumps({"execute": "qmp_capabilities"}), sys.argv[6]):
    f.write(command + chr(10))
    f.flush()
    answer = json.loads(f.readline())
print(json.dumps(answer, indent=1))
"""


@test("a domain of libvirt's, by its name (virsh played by a script)")
def libvirt():
    pid_file = "/run/libvirt/qemu/matrix.pid"
    os.makedirs(os.path.dirname(pid_file), exist_ok=True)
    os.makedirs(f"{T}/bin")
    with open(f"{T}/bin/virsh", "w") as script:
        script.write(VIRSH)
    os.chmod(f"{T}/bin/virsh", 0o755)
    g = guest()
    env = {"PATH": f"{T}/bin:{os.environ['PATH']}", "MATRIX_QMP": g.qmp}
    g.wait_for("pagework: starts")
    with open(pid_file, "w") as file:
        file.write(f"{g.pid}\n")
    try:
        daemon = Daemon(argv=[f"{B}/vmemdirect", "attach", "--state", STATE, "--domain", "matrix", "--memdev",
                              "mem0", "--ram", "32M", *SSD], name="matrix", env=env)
        said = refused(argv=[f"{B}/vmemdirect", "attach", "--state", STATE, "--domain", "other", "--ram", "32M",
                             *SSD], env=env)
        check("virsh:other: its process is not known" in said, said)
    finally:
        os.unlink(pid_file)
    g.go()
    check(g.wait_for("pagework: verified").endswith(" 0 bad"), g.lines)
    check(daemon.child.wait(60) == 0, daemon.text())


@test("a monitor that another client holds is refused in words")
def monitor_held():
    g = guest(accesses=LONG)
    g.wait_for("pagework: starts")
    with socket.socket(socket.AF_UNIX) as held:
        held.connect(g.qmp)
        held.recv(1000)
        is_refused(g, "another client holds the monitor")


main()
