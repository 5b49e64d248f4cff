# SPDX-License-Identifier: GPL-2.0-or-later
"""The servers that are compared: how each is started, spoken to and ended. Every one
is pinned to the server's CPU; one that is not installed names what is missing."""

import base64
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import zlib

EXPORT_SIZE = 4 << 30
HOST_NQN = "nqn.2026-11.io.remem:bench"  # of the load client
IQN = "iqn.2026-11.io.remem:bench"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def set_nice(pid, nice):
    """The priority of a process and, where the kernel groups by session, of its group."""
    if not nice:
        return
    os.setpriority(os.PRIO_PROCESS, pid, nice)
    try:
        with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as f:
            f.write(str(nice))
    except OSError:
        pass


def descendants(root):
    """`root` and all below it, by one look at /proc."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as f:
                    parents[int(name)] = int(f.read().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                pass
    found, grew = {root}, True
    while grew:
        grew = False
        for pid, parent in parents.items():
            if parent in found and pid not in found:
                found.add(pid)
                grew = True
    return found


class Door:
    """One way into a server: what the load client is given, and a row of the table."""

    def __init__(self, server, name, proto, where, export=None, more=()):
        self.server, self.name, self.proto = server, name, proto
        self.where, self.export, self.more = where, export, more

    @property
    def kind(self):
        return self.server.kind

    def args(self):
        a = ["--proto", self.proto, "--connect", self.where]
        return a + (["--export", self.export] if self.export else []) + list(self.more)


class Server:
    """A process started in a folder of its own on tmpfs, and ended by its id."""

    kind = "peer"
    program = None  # looked up in PATH
    package = None  # Debian's, for whoever has to install it

    def __init__(self, bench):
        self.bench = bench
        self.proc, self.pid, self.dir, self.doors = None, None, None, []

    def missing(self):
        if self.program and not shutil.which(self.program):
            return f"{self.program} is not installed (apt-get install {self.package})"
        return None

    def start(self):
        self.dir = tempfile.mkdtemp(prefix="remem-bench-", dir=self.bench.tmpfs)
        self.doors = []
        argv = self.prepare()
        own = os.sched_getaffinity(0)
        with open(os.path.join(self.dir, "log"), "wb") as log:
            # Inherited: no exec of taskset in between, which would count as start time.
            os.sched_setaffinity(0, {self.bench.server_cpu})
            self.started_ns = time.monotonic_ns()
            try:
                self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=log, start_new_session=True)
            finally:
                os.sched_setaffinity(0, own)
        self.pid = self.proc.pid
        self.configure()
        set_nice(self.pid, self.bench.nice)  # of new threads and children too
        return self

    def prepare(self):
        """Makes files, fills self.doors; returns the command line."""
        raise NotImplementedError

    def configure(self):
        """What has to be said to it once it runs."""

    def signal(self, number, pid=None):
        try:
            os.kill(pid or self.pid, number)
        except ProcessLookupError:
            pass

    def pause(self, stop):
        if self.pid:
            self.signal(signal.SIGSTOP if stop else signal.SIGCONT)

    def alive(self):
        """A process that has ended and that we have yet to reap is not."""
        if self.proc.poll() is None:
            return True
        return self.pid != self.proc.pid and os.path.exists(f"/proc/{self.pid}")

    def stop(self):
        if self.pid:
            pids = descendants(self.pid)
            self.pause(False)
            self.signal(signal.SIGTERM)
            end = time.monotonic() + 5
            while self.alive() and time.monotonic() < end:
                time.sleep(0.01)
            if self.alive():
                for pid in pids:
                    self.signal(signal.SIGKILL, pid)
                self.proc.wait()
            self.proc, self.pid = None, None
        if self.dir:
            shutil.rmtree(self.dir, ignore_errors=True)
            self.dir = None

    def log(self):
        try:
            with open(os.path.join(self.dir, "log"), encoding="utf-8", errors="replace") as f:
                return f.read().strip()
        except OSError:
            return ""

    def file(self, name="disk"):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as f:
            f.truncate(EXPORT_SIZE)
        return path

    def data_dir(self):
        """Where its tmpfs files lie; None: the data is in its own memory."""
        return self.dir

    def data_bytes(self):
        total = 0
        for base, _, names in os.walk(self.data_dir()) if self.data_dir() else ():
            for n in names:
                try:
                    total += os.stat(os.path.join(base, n)).st_blocks * 512
                except FileNotFoundError:
                    pass
        return total

    def memory(self):
        """Proportional memory of its processes, bytes: all, without shared memory
        (files of the pool mapped in), and page tables."""
        pss = own = tables = 0
        for pid in descendants(self.pid):
            try:
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                    for line in f:
                        if line.startswith("Pss:"):
                            pss += int(line.split()[1]) << 10
                        elif line.startswith(("Pss_Anon:", "Pss_File:")):
                            own += int(line.split()[1]) << 10
                with open(f"/proc/{pid}/status", encoding="ascii") as f:
                    for line in f:
                        if line.startswith("VmPTE:"):
                            tables += int(line.split()[1]) << 10
            except OSError:
                pass
        return {"pss": pss, "own": own, "page_tables": tables}


class Memserver(Server):
    kind = "ours"
    name = "memserver"
    flags = ()
    labels = ("remem NBD, TCP", "remem NBD, unix", "remem NVMe/TCP")

    def missing(self):
        path = os.path.join(self.bench.build, "memserver")
        return None if os.path.exists(path) else f"{path} is not built (make)"

    def prepare(self):
        nbd, nvme = free_port(), free_port()
        sock = os.path.join(self.dir, "nbd.sock")
        pool = os.path.join(self.dir, "pool")
        os.mkdir(pool)
        for label, door in zip(self.labels, (
                ("nbd", f"127.0.0.1:{nbd}", "default"), ("nbd", f"unix:{sock}", "default"),
                ("nvme", f"127.0.0.1:{nvme}", "nqn.2026-11.io.remem:default"))):
            if label:
                self.doors.append(Door(self, label, *door))
        return [os.path.join(self.bench.build, "memserver"), "--export", "4G",
                "--nbd", f"127.0.0.1:{nbd}", "--nbd", f"unix:{sock}",
                "--nvme", f"127.0.0.1:{nvme}", "--discovery", "off", "--metrics", "off",
                "--control", os.path.join(self.dir, "control"), "--pool", pool, *self.flags]

    def data_dir(self):
        return os.path.join(self.dir, "pool")


class MemserverNoSpin(Memserver):
    name = "memserver --no-spin"
    flags = ("--no-spin",)
    labels = ("remem NBD, TCP, --no-spin", None, "remem NVMe/TCP, --no-spin")


class MemserverSecure(Memserver):
    """TLS on NBD, DH-HMAC-CHAP on NVMe/TCP; keys of this run only."""
    name = "memserver, TLS and login"
    program, package = "openssl", "openssl"
    labels = ("remem NBD, TLS", None, "remem NVMe/TCP, logged in")

    def missing(self):
        return Server.missing(self) or Memserver.missing(self)

    def prepare(self):
        argv = Memserver.prepare(self)
        cert, key, hosts, secret = (os.path.join(self.dir, n)
                                    for n in ("cert", "key", "hosts", "secret"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=bench",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-out", cert,
                        "-keyout", key], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        raw = os.urandom(32)
        text = base64.b64encode(raw + struct.pack("<I", zlib.crc32(raw))).decode()
        for path, words in ((secret, ""), (hosts, f"host {HOST_NQN} key=")):
            with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w",
                      encoding="ascii") as f:
                f.write(f"{words}DHHC-1:00:{text}:\n")
        self.doors[0].more = ("--tls-ca", cert)
        self.doors[1].more = ("--secret", secret)
        return argv + ["--tls-cert", cert, "--tls-key", key, "--nvme-auth", hosts]


class Limit(Server):
    kind = "bound"
    spin_us = 0
    unix = False
    engine = "epoll"

    def missing(self):
        path = os.path.join(self.bench.build, "bench/limit")
        return None if os.path.exists(path) else f"{path} is not built (make benches)"

    def prepare(self):
        where = (f"unix:{self.dir}/sock" if self.unix else f"127.0.0.1:{free_port()}")
        self.doors = [Door(self, self.name, "limit", where)]
        return [os.path.join(self.bench.build, "bench/limit"), "--listen", where,
                "--engine", self.engine, "--spin", str(self.spin_us)]


class LimitTcp(Limit):
    name = "limit TCP, sleeping"


class LimitTcpSpin(Limit):
    name = "limit TCP, spinning"
    spin_us = 10 ** 9


class LimitTcpAdapt(Limit):
    name = "limit TCP, spins 50 µs"
    spin_us = 50


class LimitTcpUring(Limit):
    name = "limit TCP, io_uring, sleeping"
    engine = "uring"


class LimitTcpUringAdapt(Limit):
    name = "limit TCP, io_uring, 50 µs"
    engine, spin_us = "uring", 50


class LimitUnix(Limit):
    name = "limit unix, sleeping"
    unix = True


class LimitUnixSpin(Limit):
    name = "limit unix, spinning"
    unix, spin_us = True, 10 ** 9


class Nbdkit(Server):
    name = "nbdkit memory, TCP"
    program, package = "nbdkit", "nbdkit"

    def prepare(self):
        port = free_port()
        self.doors = [Door(self, self.name, "nbd", f"127.0.0.1:{port}")]
        return ["nbdkit", "-f", "-i", "127.0.0.1", "-p", str(port), "memory", "4G"]

    def data_dir(self):
        return None


class NbdkitUnix(Nbdkit):
    name = "nbdkit memory, unix"

    def prepare(self):
        sock = os.path.join(self.dir, "sock")
        self.doors = [Door(self, self.name, "nbd", f"unix:{sock}")]
        return ["nbdkit", "-f", "-U", sock, "memory", "4G"]


class Qsd(Server):
    name = "qemu-storage-daemon, TCP"
    program, package = "qemu-storage-daemon", "qemu-utils"

    def prepare(self):
        port = free_port()
        self.doors = [Door(self, self.name, "nbd", f"127.0.0.1:{port}", "default")]
        return ["qemu-storage-daemon", "--blockdev",
                f"driver=file,node-name=disk,filename={self.file()},discard=unmap",
                "--nbd-server", f"addr.type=inet,addr.host=127.0.0.1,addr.port={port}",
                "--export", "type=nbd,id=e,node-name=disk,name=default,writable=on"]


class NbdServer(Server):
    name = "nbd-server, TCP"
    program, package = "nbd-server", "nbd-server"

    def prepare(self):
        port = free_port()
        conf = os.path.join(self.dir, "conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(f"[generic]\nlistenaddr = 127.0.0.1\nport = {port}\n"
                    f"[default]\nexportname = {self.file()}\ntrim = true\nflush = true\n")
        self.doors = [Door(self, self.name, "nbd", f"127.0.0.1:{port}", "default")]
        return ["nbd-server", "-C", conf, "-p", os.path.join(self.dir, "pid")]

    def configure(self):
        """It forks itself into the background (-d would serve one client only)."""
        self.proc.wait(10)
        self.pid = None
        for _ in range(2000):
            try:
                with open(os.path.join(self.dir, "pid"), encoding="ascii") as f:
                    self.pid = int(f.read())
                    return
            except (OSError, ValueError):
                time.sleep(0.002)
        raise OSError("nbd-server did not start")


class Tgt(Server):
    name = "tgt rdwr, iSCSI"
    program, package = "tgtd", "tgt"

    def prepare(self):
        port = free_port()
        self.control = str(port % 30000 + 1)  # names its control socket
        self.disk = self.file()
        self.doors = [Door(self, self.name, "iscsi", f"127.0.0.1:{port}", IQN)]
        return ["tgtd", "-f", "-C", self.control, "--iscsi", f"portal=127.0.0.1:{port}"]

    def admin(self, *words, check=True):
        return subprocess.run(["tgtadm", "-C", self.control, "--lld", "iscsi", *words],
                              check=check, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def configure(self):
        for _ in range(2000):  # until its control socket answers
            if self.admin("--op", "show", "--mode", "target", check=False).returncode == 0:
                break
            time.sleep(0.002)
        target = ("--mode", "target", "--tid", "1")
        lun = ("--mode", "logicalunit", "--tid", "1", "--lun", "1")
        self.admin("--op", "new", *target, "-T", IQN)
        for key in ("MaxRecvDataSegmentLength", "MaxXmitDataSegmentLength"):
            self.admin("--op", "update", *target, "--name", key, "--value", "262144")
        self.admin("--op", "new", *lun, "-b", self.disk, "--bstype", "rdwr")
        self.admin("--op", "update", *lun, "--params", "thin_provisioning=1")
        self.admin("--op", "bind", *target, "-I", "ALL")

    def stop(self):
        if self.pid:
            self.pause(False)
            self.admin("--op", "delete", "--mode", "target", "--tid", "1", "--force",
                       check=False)
            self.admin("--op", "delete", "--mode", "system", check=False)
        super().stop()


class MemserverIscsi(Memserver):
    """The same tgtd as Tgt's, run by memserver; CPU and memory are those of both processes."""
    name = "memserver, iSCSI"
    program, package = "tgtd", "tgt"

    def missing(self):
        if os.geteuid() != 0:
            return "tgtd takes orders from root only"
        return Server.missing(self) or Memserver.missing(self)

    def prepare(self):
        argv = Memserver.prepare(self)
        port = free_port()
        self.doors = [Door(self, "remem iSCSI", "iscsi", f"127.0.0.1:{port}",
                           "iqn.2026-11.io.remem:default")]
        return argv + ["--iscsi", f"127.0.0.1:{port}"]

    def configure(self):
        for _ in range(5000):  # until it has said that all is ready
            if "ready: iscsi" in self.log():
                break
            time.sleep(0.002)

    def pause(self, stop):
        for pid in descendants(self.pid) if self.pid else ():
            self.signal(signal.SIGSTOP if stop else signal.SIGCONT, pid)


ALL = (LimitTcp, LimitTcpSpin, LimitTcpAdapt, LimitTcpUring, LimitTcpUringAdapt,
       LimitUnix, LimitUnixSpin, Memserver, MemserverNoSpin, MemserverSecure, Nbdkit, NbdkitUnix, Qsd,
       NbdServer, Tgt, MemserverIscsi)
