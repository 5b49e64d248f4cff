# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock QEMU on this machine with tests/vm/pagework as its only program, to be paged. $ACCEL is
tcg (default) or kvm."""
import functools
import json
import os
import socket
import subprocess
import threading
import zlib

from libpaging import TOP, T, check, spawn

ACCEL = os.environ.get("ACCEL", "tcg")


def modules_of(kernel, names):
    """The files of these modules and of all that they need, in loading order."""
    base = f"{kernel}/lib/modules/" + open(f"{kernel}/release").read().strip()
    needs = {}
    for line in open(f"{base}/modules.dep"):
        path, _, rest = line.partition(":")
        needs[os.path.basename(path).partition(".ko")[0].replace("-", "_")] = [path] + rest.split()
    order = []
    for name in names:
        check(name in needs, f"the kernel has no module {name}")
        order += [f"{base}/{path}" for path in reversed(needs[name]) if f"{base}/{path}" not in order]
    return order


@functools.lru_cache(None)
def initramfs(kernel, modules=(), program_source=f"{TOP}/tests/vm/pagework.c"):
    """An archive with one static program as /init, and modules; made once. Newc needs no tool: see cpio(5)."""
    init = f"{T}/init"
    subprocess.run(["cc", "-O2", "-static", "-pthread", "-D_GNU_SOURCE", f"-I{TOP}", "-o", init, program_source], check=True)
    number = 0

    def entry(name, mode, body, rdev=(0, 0)):
        nonlocal number
        number += 1
        fields = [number, mode, 0, 0, 1, 0, len(body), 0, 0, *rdev, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        head += b"\0" * (-len(head) % 4)
        return head + body + b"\0" * (-len(body) % 4)

    files = modules_of(kernel, modules)
    names = [f"/{os.path.basename(file)}" for file in files]
    path = f"{T}/initramfs-{zlib.crc32(repr((modules, program_source)).encode()):08x}"
    with open(path, "wb") as out:
        out.write(entry("dev", 0o040755, b"") + entry("dev/console", 0o020600, b"", (5, 1)) +
                  entry("init", 0o100755, open(init, "rb").read()))
        for name, file in zip(names, files):
            out.write(entry(name[1:], 0o100644, open(file, "rb").read()))
        out.write(entry("modules", 0o100644, "".join(n + "\n" for n in names).encode()) +
                  entry("TRAILER!!!", 0, b""))
    return path


class Monitor:
    """A QMP connection."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.events = []
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            check("error" not in answer, f"{command}: {answer}")
            if "return" in answer:
                return answer["return"]
            self.events.append(answer)


class Guest:
    """Runs until its program is done. `lines` is what the console said."""

    def __init__(self, mib=256, cpus=1, work_mib=160, accesses=20000, options=(), memory=None,
                 name="guest", hold=False, hot=0, modules=(), append="", reboots=False,
                 source=f"{TOP}/tests/vm/pagework.c"):
        kernel = subprocess.run([f"{TOP}/tests/vm/kernel"], check=True, stdout=subprocess.PIPE,
                                text=True).stdout.strip()
        self.qmp = f"{T}/{name}.qmp"
        memory = memory or f"memory-backend-memfd,id=mem0,size={mib}M,share=on"
        self.child = spawn(
            ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
             *([] if reboots else ["-no-reboot"]), "-accel", ACCEL, "-cpu", "max" if ACCEL == "tcg" else "host",
             "-smp", str(cpus), "-m", str(mib), "-name", name,
             "-object", memory, "-machine", "q35,memory-backend=mem0",
             "-kernel", f"{kernel}/vmlinux", "-initrd", initramfs(kernel, tuple(modules), source),
             "-append", "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check "
             f"pagework_mib={work_mib} pagework_accesses={accesses} pagework_hold={int(hold)} pagework_hot={hot} "
             f"{append}",
             "-serial", "stdio", "-qmp", f"unix:{self.qmp},server=on,wait=off", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="replace")
        self.pid = self.child.pid
        self.lines = []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def go(self):
        """A newline: a guest made with hold=True, once it has filled its memory, works; one that
        works without end (accesses=0) comes to it."""
        self.child.stdin.write("\n")
        self.child.stdin.flush()

    def read(self):
        for line in self.child.stdout:
            with self.changed:
                self.lines.append(line.strip())
                self.changed.notify_all()
        with self.changed:
            self.lines.append(None)
            self.changed.notify_all()

    def wait_for(self, text, seconds=400, nth=1):
        """The nth line of the console that contains this text."""
        def found():
            return [x for x in self.lines if x and text in x][nth - 1:nth]

        with self.changed:
            self.changed.wait_for(lambda: found() or None in self.lines, seconds)
            lines = found()
        check(lines, f"the guest never said '{text}': {self.lines[-5:]}, {self.end()}")
        return lines[0]

    def end(self):
        """How QEMU ended, for people: its status, or minus the signal that killed it, and why the kernel may have;
        and which end that was for the guest."""
        if None not in self.lines:
            return "it runs"
        log = subprocess.run(["dmesg"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        said = [line for line in log.splitlines() if "qemu" in line or "memory" in line or "kvm" in line]
        how = "the guest rebooted in order: console output was lost" if self.count("reboot: Restarting system") else \
            "the guest did not reboot in order: a panic, a triple fault, or QEMU ended by itself"
        return f"QEMU's status {self.child.wait(20)}, {how}; the kernel: {said[-8:]}"

    def count(self, text):
        """How many lines of the console contain it."""
        with self.changed:
            return len([x for x in self.lines if x and text in x])
