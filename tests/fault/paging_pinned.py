#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages that a device writes into are not evicted under it; without the check they are lost.

PIN_METHOD and SWAP in the environment choose the way to look and the swap file."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from libpaging import B, STATE, T, Daemon, Paged, Skip, check, main, refused, test  # noqa: E402

METHOD = os.environ.get("PIN_METHOD", "auto")
RAM = ("--ram", "8M")
SSD = ("--ssd", os.environ.get("SWAP", f"{T}/swap"))


def work_on_pinned(*options):
    """The answer to a verify after a device has written into 256 pages of a squeezed process."""
    process = Paged(size="32M")
    process.expect("fill")
    process.expect("pin 1000 256")
    daemon = Daemon("--pid", str(process.pid), *RAM, *SSD, *options)
    daemon.wait_squeezed()
    said = daemon.status()
    for _ in range(3):
        process.expect("run random 3000 50 1 1000")  # the first 1000 pages only
        process.expect("land")
    answer = process("verify")
    daemon.detach()
    process.quit()
    return answer, said


def available():
    process = Paged(size="32M")
    daemon = Daemon("--pid", str(process.pid), *RAM, *SSD, "--pin", METHOD)
    said = daemon.status()["pin_check"]
    daemon.detach()
    process.quit()
    return said


@test("what a device writes into pinned pages arrives")
def arrives():
    if available() == "off":
        raise Skip("pinned pages cannot be told here: neither BPF nor kcore")
    answer, said = work_on_pinned("--pin", METHOD)
    check(answer == "ok", f"{answer} {said}")
    check(said["evictions"]["pinned"] >= 256, f"they were not found: {said}")
    check(METHOD == "auto" or said["pin_check"] == METHOD, said)


@test("negative control: without the check it is lost")
def lost():
    answer, said = work_on_pinned("--pin", "off")
    check(answer.startswith("bad page"), f"it was not lost: {answer} {said}")


@test("a process with a file opened O_DIRECT is only attached where pinned pages can be told")
def o_direct():
    process = Paged("--odirect", os.environ.get("ODIRECT", f"{T}/disk"), size="32M")
    said = refused("--pid", str(process.pid), *RAM, *SSD, "--pin", "off")
    check("O_DIRECT" in said and "cache=writeback" in said, said)
    daemon = Daemon("--pid", str(process.pid), *RAM, *SSD, "--pin", "off", "--force")
    check("may be LOST" in daemon.text(), daemon.text())
    daemon.detach()
    if available() != "off":
        daemon = Daemon("--pid", str(process.pid), *RAM, *SSD, "--pin", METHOD)
        daemon.detach()
    process.quit()


@test("a daemon that can tell pinned pages no more does not go on with a disk opened O_DIRECT, and is tried again")
def told_no_more():
    if available() == "off":
        raise Skip("pinned pages cannot be told here: neither BPF nor kcore")
    process = Paged("--odirect", os.environ.get("ODIRECT", f"{T}/disk"), size="32M")
    process.expect("fill")
    daemon = Daemon("--pid", str(process.pid), *RAM, *SSD, "--pin", METHOD)
    daemon.wait_squeezed()
    daemon.kill()
    resume = [f"{B}/vmemdirect", "attach", "--state", STATE, "--resume", "t"]
    said = refused(argv=[*resume, "--pin", "off"], status=(3,))
    check("O_DIRECT" in said and "--force" in said, said)
    daemon = daemon.resume()
    process.expect("verify")
    daemon.detach()
    process.quit()


@test("attached by --force without the check it is resumed without")
def forced():
    process = Paged("--odirect", os.environ.get("ODIRECT", f"{T}/disk"), size="32M")
    process.expect("fill")
    daemon = Daemon("--pid", str(process.pid), *RAM, *SSD, "--pin", "off", "--force")
    daemon.wait_squeezed()
    daemon.kill()
    daemon = Daemon(argv=[f"{B}/vmemdirect", "attach", "--state", STATE, "--resume", "t", "--pin", "off"])
    process.expect("verify")
    daemon.detach()
    process.quit()


main()
