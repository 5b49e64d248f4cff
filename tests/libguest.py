# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock QEMU on this machine with tests/vm/pagework as its only program, to be paged. $ACCEL is
tcg (default) or kvm."""
import os
import subprocess
import threading

from libpaging import TOP, T, check, spawn

ACCEL = os.environ.get("ACCEL", "tcg")


def initramfs(program_source=f"{TOP}/tests/vm/pagework.c"):
    """An archive with one static program as /init. Newc needs no tool: see cpio(5)."""
    init = f"{T}/init"
    subprocess.run(["cc", "-O2", "-static", "-o", init, program_source], check=True)
    data = open(init, "rb").read()

    def entry(number, name, mode, body, rdev=(0, 0)):
        fields = [number, mode, 0, 0, 1, 0, len(body), 0, 0, *rdev, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        head += b"\0" * (-len(head) % 4)
        return head + body + b"\0" * (-len(body) % 4)

    path = f"{T}/initramfs"
    with open(path, "wb") as out:
        out.write(entry(1, "dev", 0o040755, b"") +
                  entry(2, "dev/console", 0o020600, b"", (5, 1)) +
                  entry(3, "init", 0o100755, data) + entry(0, "TRAILER!!!", 0, b""))
    return path


class Guest:
    """Runs until its program is done. `lines` is what the console said."""

    def __init__(self, mib=256, cpus=1, work_mib=160, accesses=20000, options=(), memory=None,
                 name="guest", hold=False, hot=0):
        kernel = subprocess.run([f"{TOP}/tests/vm/kernel"], check=True, stdout=subprocess.PIPE,
                                text=True).stdout.strip()
        self.qmp = f"{T}/{name}.qmp"
        memory = memory or f"memory-backend-memfd,id=mem0,size={mib}M,share=on"
        self.child = spawn(
            ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
             "-accel", ACCEL, "-cpu", "max" if ACCEL == "tcg" else "host", "-smp", str(cpus), "-m", str(mib), "-name", name,
             "-object", memory, "-machine", "q35,memory-backend=mem0",
             "-kernel", f"{kernel}/vmlinux", "-initrd", initramfs(),
             "-append", "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check "
             f"pagework_mib={work_mib} pagework_accesses={accesses} pagework_hold={int(hold)} pagework_hot={hot}",
             "-serial", "stdio", "-qmp", f"unix:{self.qmp},server=on,wait=off", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="replace")
        self.pid = self.child.pid
        self.lines = []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def go(self):
        """Lets a guest made with hold=True work, once it has filled its memory."""
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

    def wait_for(self, text, seconds=400):
        """The line of the console that contains this text."""
        def found():
            return next((x for x in self.lines if x and text in x), None) or None in self.lines

        with self.changed:
            ok = self.changed.wait_for(found, seconds)
            line = next((x for x in self.lines if x and text in x), None)
        check(ok and line, f"the guest never said '{text}': {self.lines[-5:]}, {self.end()}")
        return line

    def end(self):
        """How QEMU ended, for people: its status, or minus the signal that killed it, and why the kernel may have."""
        if None not in self.lines:
            return "it runs"
        log = subprocess.run(["dmesg"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        said = [line for line in log.splitlines() if "qemu" in line or "memory" in line or "kvm" in line]
        return f"QEMU's status {self.child.wait(20)}; the kernel: {said[-8:]}"
