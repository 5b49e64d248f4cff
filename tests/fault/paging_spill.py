#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# flavour: asan tsan
# timeout: 1200
"""Pages on exports of memservers: every byte is kept whatever becomes of the sub-hosts."""
import os
import re
import select
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libmonitor import Monitor  # noqa: E402
from libpaging import B, LESS, MIB, T, Limit, Paged, check, main, refused, wait_until  # noqa: E402
from libspill import RAM, SubHost, finish, paged, place, spilled, wait_rested, wait_said, wait_state  # noqa: E402


@spilled("a process works in a quarter of its memory with all else on one export, which is given back")
def works():
    host = SubHost()
    process, daemon = paged(*host.spill())
    wait_rested(daemon)
    limit = Limit(process.object_path(), 16 * MIB).start()
    process.expect("run random 8000 50 4")
    process.expect("run seq 6000 30 2")
    process.expect("verify")
    limit.end()
    check(host.stored("x") >= 32 * MIB, f"only {host.stored('x')} bytes are there")
    finish(process, daemon, host)


@spilled("the SSD is filled first, then the export with more room, and together they may be smaller than the VM")
def composed():
    small, big = SubHost("16M"), SubHost("32M")
    process, daemon = paged("--ssd", f"{T}/swap", "--ssd-size", "10M", *small.spill(), *big.spill())
    wait_rested(daemon)
    process.expect("run random 4000 50 2")
    process.expect("verify")
    used = [p["used_bytes"] for p in daemon.status()["tier"]["places"]]
    check(used[0] > 9 * MIB and used[1] > 4 * MIB and used[2] > 16 * MIB, f"used: {used}")
    text = daemon.verb("status").stdout
    check(small.url in text and big.url in text, text)
    metrics = daemon.tell("metrics")
    check(f'vmemdirect_place_up{{vm="t",place="{big.url}"}} 1' in metrics, metrics)
    finish(process, daemon, small, big)


@spilled("what does not fit anywhere is refused before anything happens, with what is missing")
def refuses():
    host = SubHost("32M")
    process = Paged()
    process.expect("fill")
    pid = ("--pid", str(process.pid), *RAM)
    said = refused(*pid, *host.spill())
    check(re.search(r"memory, SSD and exports hold \S+ together.* missing", said), said)
    said = refused(*pid, *host.spill(), *host.spill())
    check("given twice" in said, said)
    said = refused(*pid, "--mirror", "2", *host.spill())
    check("two hosts" in said, said)
    said = refused(*pid, "--spill", host.url + "no")
    check("connecting" in said, said)
    said = refused(*pid, "--spill", "http://x/y")
    check("nbd://HOST[:PORT]/EXPORT" in said, said)
    process.expect("verify")


@spilled("an export that holds another VM's pages is refused")
def taken():
    host = SubHost()
    process, daemon = paged(*host.spill())
    other = Paged()
    said = refused("--pid", str(other.pid), *RAM, *host.spill(), name="other")
    check("holds pages of VM t of host" in said, said)
    finish(process, daemon, host)


@spilled("a paged VM is not attached once more from elsewhere, and its export stays as it is")
def elsewhere():
    host = SubHost()
    process, daemon = paged(*host.spill())
    wait_rested(daemon)
    argv = [f"{B}/vmemdirect", "attach", "--state", f"{T}/elsewhere", "--name", "t", "--pid", str(process.pid), *RAM,
            *host.spill()]
    said = refused(argv=argv)
    check("has a userfaultfd already" in said, said)
    process.expect("verify")
    finish(process, daemon, host)


@spilled("an export that holds something else, as a guest's swap area, is refused and not touched", tsan=False)
def foreign():
    host = SubHost()
    process = Paged()
    io = ["qemu-io", "-f", "raw", host.url, "-c"]
    subprocess.run([*io, "write -P 7 1k 512"], check=True, stdout=subprocess.DEVNULL)
    said = refused("--pid", str(process.pid), *RAM, *host.spill())
    check("holds something already" in said, said)
    told = subprocess.run([*io, "read -P 7 1k 512"], check=True, stdout=subprocess.PIPE, text=True).stdout
    check("verification failed" not in told, told)


@spilled("a sub-host is killed and started again while the process works: it waits and goes on")
def restarted():
    host = SubHost()
    process, daemon = paged(*host.spill())
    wait_rested(daemon)
    process.send("run random 8000 50 4")
    for _ in range(3):
        host.kill()
        wait_state(daemon, host, "down")
        host.start()
        wait_state(daemon, host, "up")
    check(process.answer().startswith("ok"), "run")
    check(place(daemon, host)["losses"] >= 3, daemon.status())
    finish(process, daemon, host)


@spilled("a sub-host that is away for long: the page counts as lost, the process waits, and goes on by itself")
def away():
    host = SubHost()
    process, daemon = paged(*host.spill())
    wait_rested(daemon)
    host.kill()
    process.send("verify")
    wait_said(daemon, "a page cannot be read back from exports: the VM is stopped")
    host.start()
    check(process.answer() == "ok", "verify")
    wait_said(daemon, "the page could be read after all")
    check(daemon.status()["trouble"]["lost_pages"] >= 1, daemon.status())
    finish(process, daemon, host)


def wait_order(daemon, text):
    wait_until(lambda: daemon.status()["trouble"]["vm_order"] == text, f"'{text}'", 120, daemon.child)


@spilled("a QEMU that does not answer when it is told to stop keeps nobody waiting; it goes on when the page is there")
def silent_qemu():
    for silence in ("stop", "greeting"):
        host, monitor = SubHost(), Monitor(name=silence)
        process, daemon = paged("--qmp", monitor.path, *host.spill(), name=silence)
        wait_rested(daemon)
        monitor.withhold(silence)
        host.kill()
        process.send("verify")
        wait_order(daemon, "VM stop asked, QEMU has not answered")
        said = daemon.verb("status").stdout
        check("VM stop asked, QEMU has not answered" in said, said)
        check(not daemon.status()["trouble"]["vm_stopped"] and monitor.running, "it has not stopped yet")
        monitor.release()
        wait_order(daemon, "VM stopped")
        check(daemon.status()["trouble"]["vm_stopped"] and not monitor.running, monitor.asked)
        host.start()
        check(process.answer() == "ok", "verify")
        wait_order(daemon, "")
        check(monitor.running, monitor.asked)
        wait_said(daemon, "the VM goes on")
        finish(process, daemon, host)
        monitor.close()


@spilled("a page that comes back before QEMU could be told to stop: it is not stopped any more")
def stop_overtaken():
    host, monitor = SubHost(), Monitor()
    process, daemon = paged("--qmp", monitor.path, *host.spill())
    wait_rested(daemon)
    monitor.withhold("greeting")
    host.kill()
    process.send("verify")
    wait_order(daemon, "VM stop asked, QEMU has not answered")
    host.start()
    check(process.answer() == "ok", "verify")
    wait_said(daemon, "the page could be read after all")
    monitor.release()
    wait_order(daemon, "")
    check("stop" not in monitor.asked and monitor.running, monitor.asked)
    finish(process, daemon, host)
    monitor.close()


@spilled("a VM that somebody else has paused, or that waits for a migration, is neither stopped nor let go on", tsan=False)
def paused_by_others():
    host, monitor = SubHost(), Monitor()
    process, daemon = paged("--qmp", monitor.path, *host.spill())
    wait_rested(daemon)
    for number, status in enumerate(("paused", "inmigrate", "postmigrate"), 1):
        monitor.status = status
        host.kill()
        process.send("verify")
        wait_said(daemon, f"the VM did not run ({status}) and is left so")
        check(not daemon.status()["trouble"]["vm_stopped"] and not daemon.status()["trouble"]["vm_order"], daemon.status())
        host.start()
        check(process.answer() == "ok", "verify")
        wait_until(lambda: daemon.text().count("the page could be read after all") >= number, "the page", 120, daemon.child)
    # One that migrates away while it stands for a page is let go on nowhere.
    monitor.status = "running"
    host.kill()
    process.send("verify")
    wait_order(daemon, "VM stopped")
    monitor.status = "postmigrate"
    host.start()
    check(process.answer() == "ok", "verify")
    wait_said(daemon, "the VM neither runs nor is paused")
    check(monitor.asked.count("stop") == 1 and "cont" not in monitor.asked, monitor.asked)
    check(daemon.verb("detach").returncode == 0 and daemon.child.wait(120) == 0, daemon.text())
    check("cont" not in monitor.asked and monitor.status == "postmigrate", monitor.asked)
    monitor.close()


@spilled("the daemon is killed while the VM is stopped for a lost page: the resumed one lets the VM go on", tsan=False)
def killed_while_stopped():
    for silent, away in ((False, False), (True, False), (False, True)):
        host, monitor = SubHost(), Monitor()
        process, daemon = paged("--qmp", monitor.path, *host.spill())
        wait_rested(daemon)
        if silent:
            monitor.withhold("stop")
        host.kill()
        process.send("verify")
        wait_order(daemon, "VM stop asked, QEMU has not answered" if silent else "VM stopped")
        daemon.kill()
        monitor.release()
        wait_until(lambda: not monitor.running, "the VM to stop")
        if not away:
            host.start()
        before = monitor.asked.count("stop")
        daemon = daemon.resume()
        if away:
            wait_until(lambda: monitor.asked.count("stop") > before, "another stop", 120, daemon.child)
            wait_order(daemon, "VM stopped")
            host.start()
        check(process.answer() == "ok", "verify")
        wait_order(daemon, "")
        check(monitor.running, monitor.asked)
        # Nothing is left in the journal: who pauses the VM now has it paused.
        monitor.status = "paused"
        daemon.kill()
        told = monitor.asked.count("cont")
        daemon = daemon.resume()
        process.expect("verify")
        finish(process, daemon, host)
        check(monitor.asked.count("cont") == told and not monitor.running, monitor.asked)
        monitor.close()


@spilled("a VM that is detached just when its lost page is back is not left stopped")
def detached_while_stopped():
    host, monitor = SubHost(), Monitor()
    process, daemon = paged("--qmp", monitor.path, *host.spill())
    wait_rested(daemon)
    host.kill()
    process.send("verify")
    wait_order(daemon, "VM stopped")
    monitor.withhold("greeting")
    host.start()
    check(process.answer() == "ok", "verify")
    daemon.order("detach", "--no-wait")
    wait_said(daemon, "all pages are back")
    calls = monitor.calls
    wait_until(lambda: monitor.calls > calls, "another attempt, at the end", 60, daemon.child)
    check(not monitor.running, monitor.asked)
    monitor.release()
    check(daemon.child.wait(120) == 0, daemon.text())
    check(monitor.running, monitor.asked)
    process.expect("verify")
    monitor.close()


@spilled("a sub-host that stands still is dropped, what it was sent is not mixed up with what comes later")
def stopped():
    host = SubHost()
    process, daemon = paged(*host.spill())
    wait_rested(daemon)
    process.send("run random 8000 60 4")
    host.process.send_signal(signal.SIGSTOP)
    wait_state(daemon, host, "down")
    host.process.send_signal(signal.SIGCONT)
    wait_state(daemon, host, "up")
    check(process.answer().startswith("ok"), "run")
    process.expect("verify")
    check(daemon.status()["trouble"]["bad_hashes"] == 0, daemon.status())
    finish(process, daemon, host)


@spilled("a sub-host whose pool is full: others take the pages, and without any the process waits")
def full():
    tight, other = SubHost("128M", start=False), SubHost("40M")
    tight.flags += ["--pool-limit", "24M"]
    tight.start()
    process, daemon = paged(*tight.spill(), *other.spill())
    daemon.wait_squeezed()  # or nothing may have left when the work is done
    process.send("run random 8000 60 4")
    check(process.answer().startswith("ok"), "run")
    process.expect("verify")
    used = place(daemon, tight)["used_bytes"], place(daemon, other)["used_bytes"]
    check(min(used) > 16 * MIB, f"used: {used}")
    finish(process, daemon, other)


@spilled("an export that was made anew never gives zeros: it is told, and the process waits", tsan=False)
def reborn():
    host = SubHost()
    process, daemon = paged(*host.spill())
    wait_rested(daemon)
    host.reborn()
    process.send("verify")
    wait_said(daemon, "not the export that was given our pages")
    wait_said(daemon, "a page cannot be read back")
    check(place(daemon, host)["state"] == "reborn", daemon.status())
    before = daemon.status()["trouble"]["lost_pages"]
    wait_until(lambda: daemon.status()["trouble"]["lost_pages"] > before, "another attempt")
    check(host.stored("x") == 0, "something was written to it")
    process.child.kill()
    check(daemon.child.wait(120) == 0, daemon.text())


def answered(process):
    return bool(select.select([process.child.stdout], [], [], 0)[0])


def lost(daemon):
    return daemon.status()["trouble"]["lost_pages"]


@spilled("what is in memory and was read from a sub-host that is lost stays, or is written elsewhere before it goes")
def keeps():
    for lose, state in ((SubHost.reborn, "reborn"), (SubHost.kill, "down")):
        host, other = SubHost(), SubHost()
        process, daemon = paged(*host.spill(), *other.spill(), name=state)
        wait_rested(daemon)
        daemon.order("set", "--ram", "96M")
        process.expect("verify")  # all of it is in memory now, and unchanged
        lose(host)
        wait_state(daemon, host, state)
        daemon.order("set", "--ram", "16M")
        wait_rested(daemon)
        process.send("verify")
        wait_until(lambda: answered(process) or lost(daemon), "an answer", 120, daemon.child)
        check(not lost(daemon), f"{lost(daemon)} attempts to read what is lost")
        check(process.answer() == "ok", "verify")
        finish(process, daemon, other)


@spilled("the only sub-host is lost: what is in memory stays there until it is back")
def keeps_all():
    host = SubHost()
    process, daemon = paged(*host.spill())
    wait_rested(daemon)
    process.expect("verify")  # (what has never left has to be written in any case)
    daemon.order("set", "--ram", "96M")
    process.expect("verify")
    host.kill()
    wait_state(daemon, host, "down")
    clean = daemon.status()["evictions"]["clean"]
    daemon.order("set", "--ram", "16M")
    wait_said(daemon, "writing to the tier failed")
    process.expect("verify")
    check(daemon.status()["evictions"]["clean"] == clean, daemon.status())
    host.start()
    wait_rested(daemon)
    finish(process, daemon, host)


@spilled("an export that is dropped is told like one that was made anew", tsan=False)
def dropped():
    host = SubHost()
    process, daemon = paged(*host.spill())
    wait_rested(daemon)
    subprocess.run([f"{B}/memctl", "-s", host.control, "drop", "x", "--force"], check=True,
                   stdout=subprocess.DEVNULL)
    process.send("verify")
    wait_said(daemon, "not the export that was given our pages")
    wait_said(daemon, "a page cannot be read back")
    process.child.kill()
    check(daemon.child.wait(120) == 0, daemon.text())


@spilled("the daemon is killed while the process works: the resumed one finds every page")
def resumed():
    a, b = SubHost(), SubHost()
    process, daemon = paged("--ssd", f"{T}/swap2", "--ssd-size", "8M", *a.spill(), *b.spill())
    for _ in range(3):
        process.send("run random 8000 60 4")
        daemon.kill()
        daemon = daemon.resume()
        check(process.answer().startswith("ok"), "run")
    process.expect("verify")
    # A sub-host need not be there when it is resumed.
    daemon.kill()
    a.kill()
    daemon = daemon.resume()
    process.send("verify")
    wait_state(daemon, a, "down")
    a.start()
    check(process.answer() == "ok", "verify")
    finish(process, daemon, a, b)


def wait_looks(daemon, host, rounds):
    """The keeper reads the label once a round, and trims; the process does nothing meanwhile."""
    before = place(daemon, host)["reads"]
    wait_until(lambda: place(daemon, host)["reads"] >= before + rounds, "the keeper's rounds", 120, daemon.child)


@spilled("a page that is written to while it is being stored leaves nothing behind on an export smaller than the VM")
def taken_back():
    host = SubHost("63M")
    process, daemon = paged(*host.spill())
    cancelled = lambda: daemon.status()["evictions"]["cancelled"]  # noqa: E731
    for _ in range(50):
        wait_rested(daemon)
        if cancelled() >= 200 // LESS:
            break
        process.send("run random 40000 100 8 4000")  # hardly more than there is room for
        for size in ("12M", "16M") * 3:
            daemon.order("set", "--ram", size)
        check(process.answer().startswith("ok"), "run")
    check(cancelled() >= 200 // LESS, "no page was written to at the right time")
    status, p = daemon.status(), place(daemon, host)
    stored, absent = p["used_bytes"] - p["unused_bytes"], 64 * MIB - status["resident_bytes"]
    check(stored <= absent, f"{stored} bytes are stored, {absent} are not in memory")
    finish(process, daemon, host)


@spilled("what a discard was never answered for is not used for a while: the server may still do it")
def late_trim():
    host = SubHost("60M")  # smaller than the process: what comes into memory is given back there
    process, daemon = paged(*host.spill())
    wait_rested(daemon)
    daemon.order("fault", "nbd.trim=ETIMEDOUT@1")
    process.expect("touch 500")
    wait_until(lambda: place(daemon, host)["unused_bytes"] > 0, "slots to be given back")
    wait_rested(daemon)
    wait_looks(daemon, host, 5)
    check(place(daemon, host)["unused_bytes"] > 0, "they are used again")
    process.expect("run random 4000 50 2")
    finish(process, daemon, host)


@spilled("single requests that fail on the way are tried again or go elsewhere")
def failing_requests():
    a, b = SubHost(), SubHost()
    process, daemon = paged(*a.spill(), *b.spill())
    for spec in ("nbd.read=EIO%10", "nbd.write=EIO%10"):
        daemon.order("fault", spec)
    process.expect("run random 8000 50 4")
    process.expect("verify")
    for spec in ("nbd.read=off", "nbd.write=off"):
        daemon.order("fault", spec)
    finish(process, daemon, a, b)


main()
