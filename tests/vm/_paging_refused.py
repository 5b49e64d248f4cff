#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""In a guest of paging_refused.sh: what vmemdirect must refuse on a host that swaps, has huge
pages, or passes a device through. /dev/vda is for the host's swap, /dev/vdb for vmemdirect's."""
import glob
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libpaging import T, Daemon, Paged, check, main, refused, spawn, test, wait_until  # noqa: E402

RAM = ("--ram", "8M")
SSD = ("--ssd", "/dev/vdb")
SHMEM = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"


def put(path, text):
    with open(path, "w") as file:
        file.write(text)


def says(said, *wanted):
    for want in wanted:
        check(want in said, f"'{want}' is not in: {said}")


def refuse(process, *wanted):
    says(refused("--pid", str(process.pid), *RAM, *SSD), *wanted)
    process.expect("fill")
    process.expect("verify")
    process.quit()


def works(process):
    process.expect("fill")
    daemon = Daemon("--pid", str(process.pid), *RAM, *SSD)
    daemon.wait_squeezed()
    process.expect("verify")
    daemon.detach()
    process.expect("verify")
    process.quit()


def qemu(memory, *options):
    """A stock QEMU that has not begun to run."""
    path = f"{T}/{len(glob.glob(T + '/*.qmp'))}.qmp"
    child = spawn(["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-S", "-accel", "tcg",
                   "-m", "64", "-object", memory, "-machine", "q35,memory-backend=mem0",
                   "-qmp", f"unix:{path},server=on,wait=off", *options])

    def listens():
        with socket.socket(socket.AF_UNIX) as s:
            return not s.connect_ex(path)

    wait_until(listens, "QEMU's monitor", alive=child)
    return child, ("--qmp", path)


def in_cgroup(name):
    """Words that start a command in a new cgroup of this name."""
    folder = f"/sys/fs/cgroup/{name}"
    os.makedirs(folder)
    return folder, ["sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$@"', "--"]


@test("on a host that swaps a process is refused, with the setting that helps")
def swaps():
    subprocess.run(["mkswap", "-q", "/dev/vda"], check=True)
    subprocess.run(["swapon", "/dev/vda"], check=True)
    refuse(Paged(size="16M"), "the host's own swap", "memory.swap.max", "swapoff -a")


@test("on a host that swaps it is taken when memory.swap.max is 0 in its cgroup, or in one above")
def swap_blocked():
    put("/sys/fs/cgroup/cgroup.subtree_control", "+memory")
    folder, words = in_cgroup("blocked")
    put(f"{folder}/memory.swap.max", "0")
    works(Paged(size="16M", before=words))
    put(f"{folder}/cgroup.subtree_control", "+memory")
    works(Paged(size="16M", before=in_cgroup("blocked/below")[1]))
    _, words = in_cgroup("free")
    refuse(Paged(size="16M", before=words), "memory.swap.max")
    subprocess.run(["swapoff", "/dev/vda"], check=True)


@test("hugetlbfs is refused, as a file and as QEMU's hugetlb=on")
def hugetlb():
    put("/proc/sys/vm/nr_hugepages", "48")
    os.mkdir("/run/huge")
    subprocess.run(["mount", "-t", "hugetlbfs", "none", "/run/huge"], check=True)
    refuse(Paged("--file", "/run/huge/memory", size="16M"), "hugetlbfs", "memory-backend-memfd")
    os.unlink("/run/huge/memory")
    child, where = qemu("memory-backend-memfd,id=mem0,size=64M,share=on,hugetlb=on")
    says(refused(*where, *RAM, *SSD), "mem0 lies on hugetlbfs", "without hugetlb=on")
    check(child.poll() is None, "QEMU has ended")
    child.kill()
    child.wait()
    put("/proc/sys/vm/nr_hugepages", "0")


@test("transparent huge pages are refused: by shmem_enabled for a memfd, by huge= for a tmpfs")
def huge():
    before = open(SHMEM).read().split("[")[1].split("]")[0]
    for word in ("always", "within_size", "advise", "force"):
        put(SHMEM, word)
        refuse(Paged(size="16M"), "transparent huge pages are on", f"({word})", "echo never")
    refuse(Paged("--file", "/dev/shm/memory", size="16M"), "transparent huge pages are on", "(force)")
    put(SHMEM, before)
    works(Paged(size="16M"))
    os.mkdir("/run/thp")
    for word in ("always", "within_size", "advise"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"huge={word}", "none", "/run/thp"], check=True)
        refuse(Paged("--file", "/run/thp/memory", size="16M"), f"huge={word}", "huge=never")
        subprocess.run(["umount", "/run/thp"], check=True)


@test("a QEMU with a device passed through by VFIO is refused")
def vfio():
    device = next(d for d in glob.glob("/sys/bus/pci/devices/*") if open(f"{d}/device").read() == "0x0005\n")
    address = os.path.basename(device)
    put(f"{device}/driver_override", "vfio-pci")
    put("/sys/bus/pci/drivers/vfio-pci/bind", address)
    child, where = qemu("memory-backend-memfd,id=mem0,size=64M,share=on", "-device", f"vfio-pci,host={address}")
    says(refused(*where, *RAM, *SSD), "VFIO", "Remove the device")
    check(child.poll() is None, "QEMU has ended")


@test("a kernel too old for it is told with the release that is needed")
def old_kernel():
    # Linux says it is a 2.6 to who asks so (setarch); userfaultfd itself fails for want of a right.
    process = Paged(size="16M", before=["setpriv", "--reuid", "nobody", "--clear-groups"])
    put("/proc/sys/vm/unprivileged_userfaultfd", "0")
    refuse_argv = [f"{os.environ['B']}/vmemdirect", "attach", "--state", f"{T}/state", "--pid", str(process.pid),
                   *RAM, *SSD]
    says(refused(argv=["setarch", "--uname-2.6", *refuse_argv]), "too old", "5.19")
    says(refused(argv=refuse_argv), "vm.unprivileged_userfaultfd=1")
    process.expect("verify")
    process.quit()


main()
