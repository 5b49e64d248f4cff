#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
"""Migrations through vmemdirect receive that are refused, fail, or lose the router, a QEMU or
the connection at some point: exactly one VM can run afterwards."""
import os
import signal
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libmigrate import ODD, Receive, destination, qmp, source  # noqa: E402
from libpaging import B, STATE, T, check, main, spawn, test, wait_until  # noqa: E402

# Little device state, so that all of it fits into the sockets while a QEMU is stopped.
SMALL = ("-machine", "suppress-vmdesc=on")


def guests(src_options=(), dst_options=(), **more):
    """Guests that run for as long as the test does."""
    options = dict(mib=128, odd=ODD, work_mib=16, accesses=10**9, **more)
    src = source(options=list(src_options), **options)
    dst = destination(options=list(dst_options), **options)
    src.wait_for("pagework: filled")
    return src, dst


def only_source(src, dst, *also):
    """The source runs, the destination does not and never will by itself."""
    wait_until(lambda: src.status() == "running", "the source to run", 60)
    now = dst.status(seconds=5)
    check(now in ("gone", "paused", "inmigrate", *also), f"both run: {now}")


def only_destination(src, dst):
    wait_until(lambda: dst.status() == "running", "the destination to run", 60)
    check(src.status() in ("gone", "postmigrate"), f"both run: {src.status()}")


def state(receive):
    return receive.status()["migration"]["state"]


def wait_state(receive, *states):
    wait_until(lambda: state(receive) in states, f"the hand-over to be {states}", 120, receive.child)


def stop(vm):
    vm.child.send_signal(signal.SIGSTOP)


def go_on(vm):
    vm.child.send_signal(signal.SIGCONT)


def kill(child):
    child.kill()
    child.wait()


def resume(receive, seconds=60):
    child = spawn([f"{B}/vmemdirect", "attach", "--state", STATE, "--resume", receive.name], stderr=receive.log)
    wait_until(lambda: receive.verb("status").returncode == 0 or child.poll() is not None, "resume", seconds)
    return child


# ---- refused before anything is lost ----

@test("without a return path, with post-copy or ignore-shared a migration is refused with the remedy, and tried again")
def refused():
    src, dst = guests()
    receive = Receive(dst)
    for caps, remedy in (({"return_path": False}, "return-path on"), ({"postcopy_ram": True}, "postcopy-ram off"),
                         ({"postcopy_ram": False, "x_ignore_shared": True}, "x-ignore-shared off")):
        caps = {"return_path": True, **caps}
        src.migrate_to(receive.port, **caps)
        receive.wait_for(remedy, 60)
        src.wait_migration("failed")
        only_source(src, dst)
        check(dst.status() == "inmigrate", "the destination still waits")
    src.migrate_to(receive.port, x_ignore_shared=False)
    receive.wait_migrated()
    only_destination(src, dst)


@test("a multifd migration is refused, and the source goes on")
def multifd():
    src, dst = guests()
    receive = Receive(dst)
    src.migrate_to(receive.port, multifd=True)
    receive.wait_for("multifd", 60)
    src.wait_migration("failed")
    only_source(src, dst)
    check(dst.status() == "inmigrate", "the destination still waits")


@test("xbzrle and compress are refused at their first page, and the source takes the VM elsewhere without them")
def encoded():
    for cap, options in (("xbzrle", {}), ("compress", {"multifd": False})):
        src, dst = guests()
        receive = Receive(dst, name=cap)
        # Deltas come from the third pass on: no pass may be the last.
        src("migrate-set-parameters", **{"downtime-limit": 1})
        src.migrate_to(receive.port, mb_per_second=20, **{cap: True}, **options)
        receive.wait_for(f"migrate_set_capability {cap} off", 240)
        check(receive.wait_end() == 1, receive.text())
        src.wait_migration("failed")
        only_source(src, dst)
        wait_until(lambda: dst.status() == "gone", "the destination, which was given a part, to end", 60)
        again = destination(mib=128, odd=ODD, work_mib=16, accesses=10**9)
        receive = Receive(again, name=f"{cap}2")
        src("migrate-set-parameters", **{"downtime-limit": 5000})
        src.migrate_to(receive.port, **{cap: False})
        receive.wait_migrated()
        only_destination(src, again)
        for vm in (src, again):
            kill(vm.child)


@test("mapped-ram, which leaves memory out of the stream, is refused by its name before anything else is read")
def mapped_ram():
    src, dst = guests()
    receive = Receive(dst)
    machine, section, cap = b"pc-q35-9.0", b"configuration/capabilities", b"mapped-ram"
    stream = b"QEVM" + struct.pack(">IBI", 3, 7, len(machine)) + machine + \
        struct.pack(">BB", 5, len(section)) + section + struct.pack(">IIB", 1, 1, len(cap)) + cap
    with socket.create_connection(("127.0.0.1", receive.port)) as s:
        s.sendall(stream)
        receive.wait_for("migrate_set_capability mapped-ram off", 60)
        check(s.recv(1) == b"", "the connection is closed")
    check(dst.status() == "inmigrate", "the destination still waits")
    src.migrate_to(receive.port)
    receive.wait_migrated()
    only_destination(src, dst)


@test("two backends of one size: pages could be mixed up, so nothing is received")
def twins():
    dst = destination(mib=64, work_mib=16, accesses=1,
                      options=["-object", "memory-backend-memfd,id=mem1,size=65536K,share=on"])
    done = subprocess.run([f"{B}/vmemdirect", "receive", "--listen", "tcp:127.0.0.1:0", "--qmp", dst.qmp, "--memdev", "mem0",
                           "--ram", "16M", "--ssd", f"{T}/twins.swap", "--name", "twins", "--state", STATE],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    check(done.returncode == 1 and "Give the backends different sizes" in done.stdout, done.stdout)


@test("what is no migration, or of another VM, is refused, and the destination still waits")
def strangers():
    src, dst = guests()
    receive = Receive(dst)
    for said, text in ((b"\x11\x22\x33\x44\0\0\0\1" + bytes(20), "multifd"), (b"\x16\x03\x01\x02\0", "tls-creds"),
                       (b"GET / HTTP/1.1\r\n\r\n", "no migration of QEMU"), (b"QEVM\0\0\0\3\7\xff\xff\xff\xff", "machine name")):
        with socket.create_connection(("127.0.0.1", receive.port)) as s:
            s.sendall(said)
            receive.wait_for(text, 60)
            try:
                check(s.recv(1) == b"", "the connection is closed")
            except ConnectionResetError:
                pass
    other = source(name="other", options=["-S"], mib=64)
    other.migrate_to(receive.port)
    receive.wait_for("start both with the same -m", 60)
    other.wait_migration("failed")
    check(dst.status() == "inmigrate", "the destination still waits")
    receive.child.terminate()
    check(receive.wait_end(60) == 1, receive.text())
    check(dst.status() == "inmigrate", "SIGTERM leaves the destination alone")
    only_source(src, dst)


@test("a QEMU that runs is no destination")
def running():
    src, _ = guests()
    try:
        Receive(src)
    except AssertionError as why:
        check("-incoming defer" in str(why), why)
    else:
        check(False, "it was taken")
    check(src.status() == "running", "it still runs")


# ---- failures ----

@test("a destination that cannot load the device state ends, and the source goes on")
def load_fails():
    src, dst = guests(src_options=["-device", "virtio-rng-pci"])
    receive = Receive(dst)
    src.migrate_to(receive.port)
    check(receive.wait_end() == 1, receive.text())
    check("could not load" in receive.text(), receive.text())
    check(src.wait_migration("failed", "completed") == "failed", "the source knows")
    only_source(src, dst)
    check(dst.child.wait(60) != 0, "the destination has ended")


@test("whatever fails here, at any step before the source is told, ends the migration, and the source goes on")
def step_fails():
    for point in ("place.ram=ENOMEM@3", "ssd.write=EIO@2", "router.recv=EIO@20", "router.complete=EIO",
                  "router.loaded=EIO"):
        src, dst = guests()
        receive = Receive(dst, env={"REMEM_FAULTS": point})
        src.migrate_to(receive.port)
        check(receive.wait_end() == 1, receive.text())
        src.wait_migration("failed")
        only_source(src, dst)
        for vm in (src, dst):
            kill(vm.child)


@test("the destination QEMU dies while memory comes in: the source goes on")
def destination_dies():
    src, dst = guests()
    receive = Receive(dst)
    src.migrate_to(receive.port, mb_per_second=2)
    wait_state(receive, "receiving")
    kill(dst.child)
    check(receive.wait_end() == 1, receive.text())
    src.wait_migration("failed")
    only_source(src, dst)


@test("the source QEMU dies while memory comes in: the destination never runs")
def source_dies():
    src, dst = guests()
    receive = Receive(dst)
    src.migrate_to(receive.port, mb_per_second=2)
    wait_state(receive, "receiving")
    kill(src.child)
    check(receive.wait_end() == 1, receive.text())
    wait_until(lambda: dst.status() == "gone", "the destination to end", 60)


@test("a migration cancelled at the source, or broken off here, leaves the VM there")
def cancelled():
    for how in ("cancel", "signal"):
        src, dst = guests()
        receive = Receive(dst)
        src.migrate_to(receive.port, mb_per_second=2)
        wait_state(receive, "receiving")
        if how == "cancel":
            src("migrate_cancel")
        else:
            receive.child.terminate()
        check(receive.wait_end() == 1, receive.text())
        src.wait_migration("failed", "cancelled")
        only_source(src, dst)
        for vm in (src, dst):
            kill(vm.child)


# ---- the router is killed ----

def load_while_stopped(src, dst, receive):
    """Brings the hand-over to "loading" with the destination stopped. The memory that is not the router's to
    place (BIOS, ROMs) has to have passed before: it is about what a socket's buffer holds."""
    src.migrate_to(receive.port, mb_per_second=8)
    wait_until(lambda: src("query-migrate").get("ram", {}).get("dirty-sync-count", 0) >= 3,
               "the source's second pass to end", 120, src.child)
    stop(dst)
    src("migrate-set-parameters", **{"max-bandwidth": 10**10, "downtime-limit": 60000})
    wait_state(receive, "loading")


@test("the router killed while it waits, or while memory comes in: the source goes on")
def killed_early():
    src, dst = guests()
    receive = Receive(dst)
    kill(receive.child)
    only_source(src, dst)
    check(dst.status() == "inmigrate", "the destination was not touched")
    receive = Receive(dst, name="r2")
    src.migrate_to(receive.port, mb_per_second=2)
    wait_state(receive, "receiving")
    kill(receive.child)
    src.wait_migration("failed")
    only_source(src, dst)
    wait_until(lambda: dst.status() == "gone", "the destination to end", 60)


@test("the router killed while the device state loads: the source goes on, and no resume revives the other")
def killed_loading():
    src, dst = guests(src_options=SMALL, dst_options=SMALL)
    receive = Receive(dst)
    load_while_stopped(src, dst, receive)
    kill(receive.child)
    go_on(dst)
    src.wait_migration("failed")
    # Silent: its main thread waits for a page of a device's while it loads it. Nobody brings it any more.
    if dst.status(seconds=5) == "silent":
        wchan = open(f"/proc/{dst.pid}/wchan").read()
        check("userfault" in wchan, f"its main thread waits for something else: {wchan}")
    only_source(src, dst, "silent")
    child = resume(receive)
    check(child.wait(60) == 1, receive.text())
    only_source(src, dst, "silent")


def commit(*options, source_qmp=True):
    """Up to the word to the source, which is stopped and cannot answer."""
    src, dst = guests(src_options=SMALL, dst_options=SMALL)
    receive = Receive(dst, *(("--source-qmp", src.qmp) if source_qmp else ()), *options)
    load_while_stopped(src, dst, receive)
    wait_until(lambda: src.status() == "finish-migrate", "the source to have sent all", 60)
    before = 0
    while receive.status()["migration"]["received_bytes"] != before:
        before = receive.status()["migration"]["received_bytes"]
    stop(src)
    go_on(dst)
    wait_state(receive, "committing")
    check(dst.status() == "paused", "the destination must not run yet")
    return src, dst, receive


def committing(*options, source_qmp=True):
    """Killed between the word to the source and its answer."""
    src, dst, receive = commit(*options, source_qmp=source_qmp)
    kill(receive.child)
    go_on(src)
    src.wait_migration("completed")
    check(src.status() == "postmigrate" and dst.status() == "paused", "nobody runs before the resume")
    return src, dst, receive


@test("the router killed while it tells the source: the resume asks the source and starts the VM")
def killed_committing():
    src, dst, receive = committing()
    child = resume(receive)
    only_destination(src, dst)
    check(child.poll() is None, "and pages it")


@test("the same without the source's monitor: the VM stays paused, the log says what to do")
def killed_committing_silent():
    src, dst, receive = committing(source_qmp=False)
    resume(receive)
    receive.wait_for = None  # (its process is gone)
    wait_until(lambda: "stays paused here" in receive.text(), "the advice", 60)
    check(dst.status() == "paused", dst.status())
    dst("cont")
    only_destination(src, dst)


def committed():
    """The source has given the VM up; the destination is silent when it is told to run it."""
    src, dst, receive = commit()
    stop(dst)
    go_on(src)
    receive.wait_for("it is told until it does", 120)
    check(state(receive) == "committed", receive.status()["migration"])
    check(not receive.status()["migration"]["started"], "it cannot run yet")
    check(receive.status()["trouble"]["vm_order"] == "VM told to go on, QEMU has not answered", receive.status()["trouble"])
    check(src.migration() == "completed" and src.status() == "postmigrate", src.status())
    return src, dst, receive


@test("a destination that is silent when it is to be started is told again, until the VM runs")
def silent_at_start():
    src, dst, receive = committed()
    check(receive.status()["state"] == "paged", "its pages are served meanwhile")
    go_on(dst)
    only_destination(src, dst)
    wait_state(receive, "done")
    check(receive.status()["migration"]["started"] and receive.status()["trouble"]["vm_order"] == "", receive.status())


@test("the router killed while the destination is silent: the resume starts the VM")
def killed_committed():
    src, dst, receive = committed()
    kill(receive.child)
    go_on(dst)
    resume(receive)
    only_destination(src, dst)


@test("the router killed after the hand-over: the destination goes on when it is resumed")
def killed_late():
    src, dst = guests()
    receive = Receive(dst)
    src.migrate_to(receive.port)
    receive.wait_migrated()
    kill(receive.child)
    check(src.status() == "postmigrate", src.status())
    resume(receive)
    only_destination(src, dst)


main()
