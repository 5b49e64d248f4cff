#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What vmemdirect will not attach to, each with its own message; the process is as before."""
import ctypes
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libpaging import (B, STATE, T, Daemon, Paged, Skip, attach_argv, check, main,  # noqa: E402
                       refused, test)

RAM = ("--ram", "16M")
SSD = ("--ssd", f"{T}/swap")


def says(text, *wanted):
    for want in wanted:
        check(want in text, f"'{want}' is not in: {text}")


def unharmed(process):
    process.expect("fill")
    process.expect("verify")
    links = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")]
    check(not any("userfaultfd" in link for link in links), f"something is left: {links}")
    process.quit()


def refuse(process, *wanted, options=(), argv=None):
    says(refused("--pid", str(process.pid), *RAM, *SSD, *options, argv=argv), *wanted)
    unharmed(process)


@test("private memory is refused, with the options that make it shared")
def private():
    refuse(Paged("--private"), "private", "memory-backend-memfd")


@test("an object on an ordinary file system is refused")
def ordinary_file():
    refuse(Paged("--file", f"{T}/ordinary"), "ordinary file system", "tmpfs")


@test("an object mapped twice is refused")
def twice():
    process = Paged()
    process.expect("remap")
    refuse(process, "mapped twice")


@test("an object that another process has mapped (vhost-user) is refused")
def shared_with_another():
    path = f"/dev/shm/paging-{os.getpid()}"
    try:
        other = Paged("--file", path)
        refuse(Paged("--file", path), f"process {other.pid}", "vhost-user")
    finally:
        os.unlink(path)


@test("a tmpfs with huge pages is refused")
def huge():
    script = (f"mount -t tmpfs -o huge=always none /mnt && exec {B}/tests/tools/paged --size 64M "
              "--file /mnt/memory")
    done = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "-o", "huge=always", "none", "/mnt"],
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Skip(f"no tmpfs with huge=always here: {done.stderr.strip()}")
    process = Paged.__new__(Paged)
    process.__init__(before=["unshare", "-m", "--propagation", "private", "sh", "-c", script, "--"])
    # The mount is only in the process's own namespace: attach from there.
    refuse(process, "huge=always", "huge=never",
           argv=["nsenter", "-m", "-t", str(process.pid), *attach_argv("--pid", str(process.pid), *RAM, *SSD)])


@test("a swap file that does not fit is refused before anything is attached")
def no_room():
    process = Paged()
    refuse(process, "no room for 64M",
           argv=["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o size=1M none /mnt && exec \"$@\"", "--",
                 *attach_argv("--pid", str(process.pid), *RAM, "--ssd", "/mnt/swap")])
    journal = f"{STATE}/t/pages"
    check(not os.path.exists(journal) or os.path.getsize(journal) == 0, "a journal takes memory for nothing")


@test("a swap file that another VM uses is refused")
def swap_in_use():
    first, second = Paged(), Paged()
    daemon = Daemon("--pid", str(first.pid), *RAM, *SSD, name="first")
    refuse(second, "another vmemdirect uses it")
    daemon.detach()


@test("a second attach to the same VM is refused")
def attached_already():
    process = Paged()
    daemon = Daemon("--pid", str(process.pid), *RAM, *SSD)
    says(refused("--pid", str(process.pid), *RAM, "--ssd", f"{T}/other"), "attached already")
    daemon.detach()
    unharmed(process)


@test("a VM whose daemon was killed is not attached anew but to be resumed")
def orphan():
    process = Paged()
    process.expect("fill")
    daemon = Daemon("--pid", str(process.pid), *RAM, *SSD)
    daemon.wait_squeezed()
    daemon.kill()
    says(refused("--pid", str(process.pid), *RAM, *SSD), "--resume t")
    daemon = daemon.resume()
    process.expect("verify")
    daemon.detach()
    process.expect("verify")


@test("without a privilege that is needed, the message says which one it is")
def no_privilege():
    for dropped in ("-sys_ptrace", "-sys_admin,-checkpoint_restore"):
        process = Paged()
        says(refused(argv=["setpriv", f"--bounding-set={dropped}",
                           *attach_argv("--pid", str(process.pid), *RAM, *SSD)]), "needs CAP_SYS_")
        unharmed(process)


PTRACE_SEIZE, PTRACE_DETACH, PTRACE_INTERRUPT = 0x4206, 17, 0x4207


@test("a process that a debugger holds is refused, and taken when it is let go")
def traced():
    process, libc = Paged(), ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    for task in os.listdir(f"/proc/{process.pid}/task"):
        check(libc.ptrace(PTRACE_SEIZE, int(task), 0, 0) == 0, os.strerror(ctypes.get_errno()))
    says(refused("--pid", str(process.pid), *RAM, *SSD), "another debugger traces")
    for task in os.listdir(f"/proc/{process.pid}/task"):
        libc.ptrace(PTRACE_INTERRUPT, int(task), 0, 0)
        os.waitpid(int(task), 0)
        libc.ptrace(PTRACE_DETACH, int(task), 0, 0)
    Daemon("--pid", str(process.pid), *RAM, *SSD).detach()
    unharmed(process)


@test("a process that is not there, and words that make no sense, are refused")
def nonsense():
    says(refused("--pid", "4194000", *RAM, *SSD), "No such process")
    says(refused(*RAM, *SSD), "--qmp")
    says(refused("--pid", "1", *SSD), "--ram")
    says(refused("--pid", "1", *RAM), "--ssd")
    says(refused("--qmp", "/nonexistent", *RAM, *SSD), "No such file")
    says(refused("--pid", "1", "--ram", "many", *SSD), "not a size")
    says(refused("--resume", "nobody", argv=[f"{B}/vmemdirect", "attach", "--state", STATE, "--resume",
                                            "nobody"]), "nothing to resume")


main()
