# SPDX-License-Identifier: GPL-2.0-or-later
"""An ordinary destination: a swap file that is on for as long as one measurement takes, and a
cgroup (v1 or v2) that limits one process. As root.

    with HostSwap(folder, size_bytes) as swap: ...      # swap is on in here
    with Cgroup(pid) as group: group.limit(bytes); group.own_bytes()

The swap file is switched off and deleted by a process of its own, which waits for the end of
this one: also when this one is interrupted or killed."""
import contextlib
import os
import subprocess
import sys

# Ignores what a ^C sends to the whole foreground group. swapoff may fail while a process that the
# limit leaves no room for still ends: it is tried for a minute.
GUARD = """
trap '' INT TERM HUP QUIT
echo ready
read -r _
n=0
until swapoff "$1" 2>/dev/null || ! grep -qF "$1" /proc/swaps; do
	n=$((n + 1))
	[ $n -lt 60 ] || { swapoff "$1"; echo "STILL ON: swapoff $1 && rm $1" >&2; exit 1; }
	sleep 1
done
rm -f "$1"
"""


def run(*argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stdout.strip()}")
    return done.stdout


def swapping():
    """The swap areas that are on."""
    return [line.split()[0] for line in open("/proc/swaps").readlines()[1:]]


class HostSwap:
    def __init__(self, folder, size_bytes):
        self.path = f"{os.path.realpath(folder)}/remem-bench-{os.getpid()}.swap"
        self.size_bytes = size_bytes
        self.guard = None

    def __enter__(self):
        if os.geteuid() != 0:
            sys.exit("switching swap on needs root")
        if swapping():
            sys.exit(f"this host swaps already ({', '.join(swapping())}): the comparison needs its own swap alone")
        fd = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        # In a session of its own: what is sent to our process group does not reach it.
        self.guard = subprocess.Popen(["sh", "-c", GUARD, "guard", self.path], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True, start_new_session=True)
        try:
            self.guard.stdout.readline()
            os.posix_fallocate(fd, 0, self.size_bytes)
            run("mkswap", self.path)
            run("swapon", self.path)
        except BaseException:
            self.__exit__()
            raise
        finally:
            os.close(fd)
        return self

    def __exit__(self, *_):
        """Only once all that was swapped out is gone, or it comes back in here."""
        self.guard.stdin.close()
        self.guard.stdout.close()
        if self.guard.wait() != 0:
            raise RuntimeError(f"{self.path} is still in use as swap: swapoff and delete it")


class Cgroup:
    """A process in a group of its own. What it has already is not counted: pages are charged where
    they are first touched."""

    def __init__(self, pid):
        v1 = "/sys/fs/cgroup/memory"
        self.v1 = os.path.exists(f"{v1}/memory.limit_in_bytes")
        self.path = f"{v1 if self.v1 else self.root_v2()}/remem-bench-{os.getpid()}"
        os.mkdir(self.path)
        try:
            self.put("cgroup.procs", pid)
        except BaseException:
            self.__exit__()
            raise

    @staticmethod
    def root_v2():
        for line in open("/proc/self/mounts"):
            _, where, kind, _ = line.split(maxsplit=3)
            if kind == "cgroup2":
                with contextlib.suppress(OSError), open(f"{where}/cgroup.subtree_control", "w") as f:
                    f.write("+memory")
                if "memory" in open(f"{where}/cgroup.subtree_control").read().split():
                    return where
        raise RuntimeError("no memory controller: neither cgroup v1 at /sys/fs/cgroup/memory nor v2")

    def put(self, name, value):
        with open(f"{self.path}/{name}", "w") as f:
            f.write(str(value))

    def number(self, name):
        return int(open(f"{self.path}/{name}").read())

    def limit(self, size_bytes):
        self.put("memory.limit_in_bytes" if self.v1 else "memory.max", size_bytes)

    def own_bytes(self):
        """What is charged beside shared memory (the VM's): heap, page tables, KVM's."""
        used = self.number("memory.usage_in_bytes" if self.v1 else "memory.current")
        shared = next(int(line.split()[1]) for line in open(f"{self.path}/memory.stat") if line.startswith("shmem "))
        return used - shared

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Whoever is in it still goes to the parent."""
        with contextlib.suppress(OSError):
            for pid in open(f"{self.path}/cgroup.procs").read().split():
                with open(f"{os.path.dirname(self.path)}/cgroup.procs", "w") as f:
                    f.write(pid)
        os.rmdir(self.path)


def make_disk(device, where):
    """A file system on a whole disk, for the swap file and for vmemdirect's."""
    run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", device)
    os.makedirs(where, exist_ok=True)
    run("mount", device, where)
    return where
