#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
"""vmemdirect watch at a migration's source: what its VM uses lands in RAM, what it does not on
SSD; and whatever goes wrong with a history, the migration goes on by the stream's own rule."""
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libmigrate import ODD, Vm, Watch, destination, no_paging, receive_history, source, sweeps  # noqa: E402
from libpaging import T, Paged, check, diag, main, test, wait_until  # noqa: E402

WORK, HOT = 100, 8  # MiB; one of so many stretches of 64 KiB is read all the time
HOT_PAGES = WORK * 256 // HOT


def hot_faults(watched):
    """Moves a VM that reads its hot pages; how many of them had to be read back from SSD there."""
    both = dict(mib=192, odd=ODD, work_mib=WORK, hot=HOT)
    dst = destination(**both)
    receive = receive_history(dst, "--paused", "--prefetch", "0", ram="50M")
    src = source(**both)
    src.wait_for("pagework: sweep 1", 240)
    if watched:
        watch = Watch(src, receive.history)
        watch.wait_for("will ask for the history")
        first = sweeps(src)
        wait_until(lambda: watch.samples() >= 4 and sweeps(src) >= first + 4, "samples", 240, watch.child)
    src.migrate_to(receive.port)
    src("migrate-set-parameters", **{"downtime-limit": 5000})
    check(src.wait_migration("completed", "failed") == "completed", receive.text())
    said = receive.wait_migrated()
    no_paging(receive.status())
    dst("cont")
    wait_until(lambda: sweeps(dst) > 0, "the rest of a sweep", 240, dst.child)
    before = sweeps(dst)
    wait_until(lambda: sweeps(dst) >= before + 2, "the hot pages read twice", 240, dst.child)
    faults = receive.status()["faults"]["tier"]
    check(receive.verb("set", "--ram", "200M").returncode == 0, receive.text())
    dst.go()
    check(dst.wait_for("pagework: verified") == f"pagework: verified {WORK * 256} pages, 0 bad", dst.lines[-3:])
    check(dst.child.wait(60) == 0 and receive.wait_end(60) == 0, f"both end with the guest: {receive.text()}")
    if watched:
        src.child.kill()
        watch.wait_for("has the history")
        check(watch.child.wait(60) == 0, "watch ends with its VM")
    return said, faults, receive.text()


@test("a watched VM's hot pages land in RAM and cold ones on SSD: it then works almost without faults; unwatched it does not")
def hot_set():
    said, faults, log = hot_faults(watched=True)
    history = said["history"]
    check(history and history["samples"] >= 4, said)
    check(sum(history["histogram"]) == said["memory_pages"], history)
    check(history["ram_pages"] >= HOT_PAGES and history["tier_pages"] > 10000, history)
    check(sum(history["histogram"][1:]) >= HOT_PAGES * 9 // 10, "the hot pages were seen")
    check("by access history" in log, log)
    other, control, log = hot_faults(watched=False)
    check(other["history"] is None and "no watcher is here" in log, other)
    check(control > HOT_PAGES // 2, f"the control reads hardly anything back: {control}")
    check(faults * 10 < control, f"{faults} faults, without a history {control}")
    del history["histogram"]
    diag(f"{HOT_PAGES} hot pages: {faults} faults with, {control} without a history; {history}")


# ---- whatever goes wrong ----

def stopped():
    src, dst = source(options=["-S"]), destination(options=["-S"])
    src.fill()
    return src, dst, receive_history(dst)


def moves_all_the_same(src, dst, receive, text):
    """By the stream's rule, with a warning, and no byte differs."""
    if src.migration() == "none":
        src.migrate_to(receive.port)
    check(src.wait_migration("completed", "failed") == "completed", receive.text())
    said = receive.wait_migrated()
    check(said["history"] is None and text in receive.text(), receive.text())
    no_paging(receive.status())
    receive.detach()
    check(src.memory() == dst.memory(), "bytes differ")


@test("a watcher killed while its history is awaited: the migration goes on")
def killed():
    src, dst, receive = stopped()
    watch = Watch(src, receive.history)
    wait_until(lambda: receive.status()["migration"]["watched"], "the watcher", 120, watch.child)
    os.kill(watch.child.pid, 19)
    src.migrate_to(receive.port)
    wait_until(lambda: receive.status()["migration"]["state"] == "receiving", "the migration", 60, receive.child)
    watch.child.kill()
    moves_all_the_same(src, dst, receive, "ended before it had sent it")


@test("a watcher that fails in the middle of its history: the migration goes on")
def cut():
    src, dst, receive = stopped()
    watch = Watch(src, receive.history, env={"REMEM_FAULTS": "history.send=EIO@4"})
    watch.wait_for("sample 1:")
    moves_all_the_same(src, dst, receive, "ended before it had sent it")
    watch.wait_for("does not take the history")


def hello(mib=64, name=b"mem0", uuid=bytes(16)):
    return (b"RMHISTRY" + struct.pack(">II", 1, 1) + uuid + b"x".ljust(64, b"\0") + name.ljust(64, b"\0") +
            struct.pack(">Q", mib << 20))


def stranger(port, said):
    s = socket.create_connection(("127.0.0.1", port))
    s.settimeout(60)
    s.sendall(said)
    return s


@test("wrong bytes instead of a history, in a hello and where ages should be: refused, the migration goes on")
def wrong_bytes():
    ages = bytes(64 * 256)
    for answer in (b"RMHA" + struct.pack(">IQII", 9, 64 * 256, 1234, 0) + ages,  # checksum
                   b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"):
        src, dst, receive = stopped()
        for rubbish in (b"GET / HTTP/1.1\r\n\r\n", hello()[:8] + b"\xff" * 200, hello() + b"more"):
            s = stranger(receive.history, rubbish)
            check(s.recv(8) == b"RMHW\0\0\0\5" and not s.recv(1), "told, and closed")
        check(receive.text().count("no hello of a watcher") == 3, receive.text())
        s = stranger(receive.history, hello())
        check(s.recv(8) == b"RMHW\0\0\0\1", "welcome")
        src.migrate_to(receive.port)
        check(s.recv(8) == b"RMHW\0\0\0\2", "asked")
        s.sendall(answer)
        moves_all_the_same(src, dst, receive, "wrong bytes came")
        for vm in (src, dst):
            vm.child.kill()
            vm.child.wait()


@test("a second watcher is sent away and the first one's history counts")
def second():
    src, dst, receive = stopped()
    watch = Watch(src, receive.history)
    watch.wait_for("will ask for the history")
    other = Watch(src, receive.history, name="w2")
    other.wait_for("another watcher is there already")
    check("a second watcher" in receive.text(), receive.text())
    other.child.terminate()
    check(other.child.wait(60) == 0, other.text())
    watch.wait_for("sample 1:")
    src.migrate_to(receive.port)
    said = receive.wait_migrated()
    check(said["history"]["samples"] >= 1, said)
    receive.detach()
    check(src.memory() == dst.memory(), "bytes differ")


@test("the history of another VM, told by its size or its uuid, is refused, and the migration goes on")
def other_vm():
    src = source(options=["-S", "-uuid", "11111111-2222-3333-4444-555555555555"])
    dst = destination(options=["-S", "-uuid", "11111111-2222-3333-4444-555555555555"])
    src.fill()
    receive = receive_history(dst)
    small = Vm("small", mib=32, options=["-S"])
    watch = Watch(small, receive.history)
    watch.wait_for("it waits for another VM")
    s = stranger(receive.history, hello(uuid=b"\1" * 16))
    check(s.recv(8) == b"RMHW\0\0\0\4", "another VM's uuid")
    right = Watch(src, receive.history, name="right")
    right.wait_for("will ask for the history")
    right.child.kill()
    receive.wait_for("has gone")
    moves_all_the_same(src, dst, receive, "no watcher is here")


@test("by pid, without a monitor and so without names, a VM is watched too")
def by_pid():
    src, dst, receive = stopped()
    watch = Watch(src, receive.history, "--pid", str(src.pid))
    watch.wait_for("sample 1:")
    src.migrate_to(receive.port)
    said = receive.wait_migrated()
    check(said["history"]["samples"] >= 1, said)
    receive.detach()
    check(src.memory() == dst.memory(), "bytes differ")


@test("memory that is private or locked cannot be watched, and watch says so")
def refused():
    locked = Paged(size="16M")
    locked.expect("lock")
    watch = Watch(None, 1, "--pid", str(locked.pid))
    watch.wait_for("its memory is locked")
    check(watch.child.wait(60) == 1, watch.text())
    vm = Vm("private", options=["-S", "-object", "memory-backend-ram,id=dimm,size=4M", "-object",
                                "memory-backend-ram,id=dimm2,size=4M,share=off"])
    watch = Watch(vm, 1, "--qmp", vm.qmp, "--memdev", "dimm")
    watch.wait_for("share=off")
    check(watch.child.wait(60) == 1, watch.text())


@test("where the host may swap the VM watch is refused, and pauses when swap is turned on later")
def swap():
    head, area = "Filename\tType\tSize\tUsed\tPriority\n", "/dev/sda2\tpartition\t1024\t0\t-2\n"
    swaps = f"{T}/swaps"  # what it takes for /proc/swaps; this host's own swap is nobody's to turn on
    ours = ["unshare", "-m", "--propagation", "private", "sh", "-c",
            f'mount --bind {swaps} /proc/swaps && exec "$0" "$@"']

    def now(text):
        with open(swaps, "r+" if os.path.exists(swaps) else "w") as file:
            file.write(text)
            file.truncate()

    process = Paged(size="16M")
    now(head + area)
    watch = Watch(None, 1, "--pid", str(process.pid), before=ours)
    watch.wait_for("the host's own swap may take this VM's pages")
    check(watch.child.wait(60) == 1, watch.text())
    now(head)
    watch = Watch(None, 1, "--pid", str(process.pid), "--period", "20", before=ours)
    watch.wait_for("sample 3:")
    now(head + area)
    watch.wait_for("nothing is sampled until that ends")
    count = watch.samples()
    now(head)
    wait_until(lambda: watch.samples() > count, "sampling to go on", 60, watch.child)


main()
