#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""In a guest of bench_hostswap.sh: bench/lib/hostswap.py with a real swap file. Any step that fails ends it.

    _bench_hostswap.py DISK"""
import os
import signal
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, f"{TOP}/bench/lib")
from hostswap import Cgroup, HostSwap, make_disk, swapping  # noqa: E402

MIB = 1 << 20
HOLDER = "import sys; sys.path.insert(0, sys.argv[1]); from hostswap import HostSwap\n" \
         "with HostSwap(sys.argv[2], 64 << 20): print('on', flush=True); sys.stdin.read()"
# Waits, takes so many MiB and says so, waits again.
HOG = "import sys; sys.stdin.readline(); m = b'x' * (int(sys.argv[1]) << 20); print('full', flush=True); sys.stdin.readline()"


def check(condition, text):
    if not condition:
        sys.exit(f"failed: {text}")


def python(*words, **more):
    return subprocess.Popen([sys.executable, "-c", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more)


def limited(folder):
    with HostSwap(folder, 64 * MIB) as swap:
        check(swapping() == [swap.path], swapping())
        hog = python(HOG, "48")
        with Cgroup(hog.pid) as group:
            group.limit(24 * MIB)
            hog.stdin.write("\n")
            hog.stdin.flush()
            check(hog.stdout.readline() == "full\n", "the hog ended")
            used = int(open("/proc/swaps").readlines()[1].split()[3]) >> 10
            check(used >= 20, f"{used} MiB of swap used")
            check(group.own_bytes() <= 24 * MIB, group.own_bytes())
            hog.kill()
            hog.wait()
        check(not os.path.exists(group.path), "the group is removed")
    nothing_left(folder)


def nothing_left(folder):
    end = time.monotonic() + 60  # a guard whose master was killed gives no event
    while (swapping() or os.listdir(folder) != ["lost+found"]) and time.monotonic() < end:
        time.sleep(0.05)
    check(not swapping(), f"still on: {swapping()}")
    check(os.listdir(folder) == ["lost+found"], os.listdir(folder))


def killed(folder, number):
    """With the whole group, as a ^C is sent to."""
    holder = python(HOLDER, f"{TOP}/bench/lib", folder, start_new_session=True)
    check(holder.stdout.readline() == "on\n" and len(swapping()) == 1, "it is on")
    os.killpg(holder.pid, number)
    holder.wait()
    nothing_left(folder)


def refused(folder):
    with HostSwap(folder, 16 * MIB):
        done = python(HOLDER, f"{TOP}/bench/lib", folder, stderr=subprocess.PIPE)
        _, said = done.communicate("")
        check(done.returncode == 1 and "swaps already" in said, said)
        check(len(swapping()) == 1, "the other's stays on")
    nothing_left(folder)


def main():
    folder = make_disk(sys.argv[1], "/run/disk")
    limited(folder)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        killed(folder, number)
    refused(folder)
    print("all of it worked")


main()
