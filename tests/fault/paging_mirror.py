#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# flavour: asan tsan
# timeout: 600
"""Every page on two sub-hosts: the process goes on whichever dies."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libpaging import check, main, wait_until  # noqa: E402
from libspill import SubHost, finish, paged, place, spilled, wait_rested, wait_said, wait_state  # noqa: E402


def in_use(daemon, host):
    p = place(daemon, host)
    return p["used_bytes"] - p["unused_bytes"]


@spilled("with two copies of every page the process goes on when either sub-host dies, and they are made again")
def mirrored():
    a, b = SubHost(), SubHost()
    process, daemon = paged("--mirror", "2", *a.spill(), *b.spill())
    wait_rested(daemon)
    lost = daemon.status()["trouble"]["lost_pages"]
    for gone in (a, b):
        process.send("run random 8000 60 4")
        gone.kill()
        wait_state(daemon, gone, "down")
        check(process.answer().startswith("ok"), "run")
        process.expect("verify")
        status = daemon.status()["tier"]
        check(status["degraded_pages"] > 0 and status["alarm"], f"not degraded: {status}")
        check("DEGRADED" in daemon.verb("status").stdout, "the status does not say it")
        wait_said(daemon, "pages have one copy left")
        gone.start()
        wait_until(lambda: not daemon.status()["tier"]["alarm"], "the second copies", 120, daemon.child)
        wait_said(daemon, "every page on exports has its second copy again")
    # Every page lies on both: more slots on one of them would be nobody's.
    wait_until(lambda: in_use(daemon, a) == in_use(daemon, b), "as many slots on either", 120, daemon.child)
    status = daemon.status()
    check(status["trouble"]["lost_pages"] == lost == 0, f"pages were missed: {status['trouble']}")
    finish(process, daemon, a, b)


@spilled("of two copies, one on an export that was made anew, the other is read")
def mirrored_reborn():
    hosts = SubHost(), SubHost(), SubHost()
    process, daemon = paged("--mirror", "2", *(word for host in hosts for word in host.spill()))
    wait_rested(daemon)
    process.send("run random 8000 50 2")
    hosts[0].reborn()
    wait_state(daemon, hosts[0], "reborn")
    check(process.answer().startswith("ok"), "run")
    process.expect("verify")
    finish(process, daemon, *hosts[1:])


@spilled("copies on a host that is lost for good are missed, and made again on others: the next one may go, too")
def remade():
    for lose, state in ((SubHost.reborn, "reborn"), (SubHost.kill, "down")):
        hosts = SubHost(), SubHost(), SubHost()
        process, daemon = paged("--mirror", "2", *(word for host in hosts for word in host.spill()), name=state)
        wait_rested(daemon)
        lose(hosts[0])
        wait_state(daemon, hosts[0], state)
        degraded = lambda: daemon.status()["tier"]["degraded_pages"]  # noqa: E731
        check(degraded() > 0, "nothing is missed")
        wait_until(lambda: not degraded(), "the second copies", 120, daemon.child)
        hosts[1].kill()
        wait_state(daemon, hosts[1], "down")
        process.expect("verify")
        hosts[1].start()
        finish(process, daemon, *hosts[1:])


@spilled("two copies, a sub-host that stands still: after a moment the other one is read")
def mirrored_stopped():
    a, b = SubHost(), SubHost()
    process, daemon = paged("--mirror", "2", *a.spill(), *b.spill())
    wait_rested(daemon)
    process.send("run random 8000 60 4")
    a.process.send_signal(signal.SIGSTOP)
    check(process.answer().startswith("ok"), "run")
    process.expect("verify")
    a.process.send_signal(signal.SIGCONT)
    wait_until(lambda: not daemon.status()["tier"]["alarm"], "the second copies", 120, daemon.child)
    check(daemon.status()["trouble"]["bad_hashes"] == 0, daemon.status())
    finish(process, daemon, a, b)


main()
