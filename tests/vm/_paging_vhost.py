#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""In a guest of paging_vhost.sh, which has /dev/kvm and vhost-net: a KVM guest of its own is paged
while packets come into its memory and leave it. /dev/vda is vmemdirect's."""
import os
import re
import socket
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
os.environ["ACCEL"] = "kvm"
from libguest import Guest  # noqa: E402
from libpaging import TOP, Daemon, check, diag, main, test  # noqa: E402

NET = ("-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no,vhost=on", "-device", "virtio-net-pci,netdev=n")
MASK = (1 << 64) - 1
WORDS = 1 << 17


def words(first, n):
    return struct.pack(f"<{n}Q", *((i + 1) * 0x9e3779b97f4a7c15 & MASK for i in range(first, first + n)))


def stream():
    """Words to the guest and back."""
    s = socket.create_connection(("10.77.0.2", 7777), timeout=300)

    def send():
        for first in range(0, WORDS, 1 << 12):
            s.sendall(words(first, 1 << 12))
        s.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    back = bytearray()
    while part := s.recv(1 << 16):
        back += part
    sender.join()
    check(len(back) == WORDS * 8, f"{len(back)} bytes came back")
    check(bytes(back) == words(0, WORDS), "other bytes came back")


@test("what vhost-net brings into pages under eviction, and takes out of them, is right")
def vhost_net():
    for line in ("ip tuntap add tap0 mode tap", "ip addr add 10.77.0.1/24 dev tap0", "ip link set tap0 up"):
        subprocess.run(line.split(), check=True)
    guest = Guest(mib=176, options=NET, modules=("virtio_pci", "virtio_net"), source=f"{TOP}/tests/vm/pageio.c",
                  append="pageio_mib=80 pageio_net=1")
    guest.wait_for("pageio: filled")
    daemon = Daemon("--qmp", guest.qmp, "--ram", "44M", "--ssd", "/dev/vda", name="guest")
    daemon.wait_squeezed()
    guest.go()
    guest.wait_for("pageio: listens")
    before = daemon.status()
    stream()
    after = daemon.status()
    line = guest.wait_for("bytes streamed")
    _, _, streamed, wrong, pages = (int(n) for n in re.findall(r"\d+", line))
    check((streamed, wrong, pages) == (8 * WORDS, 0, 0), line)
    check(after["faults"]["tier"] > before["faults"]["tier"], "nothing was paged meanwhile")
    diag(f"{line}; faults {before['faults']['tier']} to {after['faults']['tier']}")
    check(daemon.child.wait(60) == 0, daemon.text())


main()
