# SPDX-License-Identifier: GPL-2.0-or-later
"""A small NVMe/TCP host for tests: it does what it is told, right or wrong.

Queue is one connection. Its methods send right PDUs unless given a field to spoil, and
return what the target says. Server starts a memserver of its own. Tap prints results.
"""
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

ICREQ, ICRESP, H2C_TERM, C2H_TERM, CMD, RSP, H2C_DATA, C2H_DATA, R2T = (
    0, 1, 2, 3, 4, 5, 6, 7, 9)
HDGST, DDGST, LAST, SUCCESS = 1, 2, 4, 8
FLUSH, WRITE, READ, COMPARE, WRITE_ZEROES, DSM = 0, 1, 2, 5, 8, 9
GET_LOG, IDENTIFY, ABORT, SET_FEATURES, GET_FEATURES, AER, KEEP_ALIVE = (
    2, 6, 8, 9, 10, 12, 0x18)
DISCOVERY = 'nqn.2014-08.org.nvmexpress.discovery'
HOSTNQN = 'nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555'
HOSTID = bytes(range(16))
DNR = 0x4000
BLOCK = 4096


def subnqn(export='default'):
    return 'nqn.2026-11.io.remem:' + export


def _crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82f63b78 if i & 1 else 0)
        table.append(i)
    return table


_CRC = _crc_table()


def crc32c(data):
    crc = 0xffffffff
    for b in data:
        crc = crc >> 8 ^ _CRC[(crc ^ b) & 0xff]
    return struct.pack('<I', crc ^ 0xffffffff)


class Ended(Exception):
    """The target has closed the connection."""


class Pdu:
    def __init__(self, header, data, raw):
        self.type, self.flags, self.hlen, self.pdo, self.plen = struct.unpack_from(
            '<BBBBI', header)
        self.header, self.data, self.raw = header, data, raw

    def term(self):
        """(FES, FEI) of a C2HTermReq."""
        assert self.type == C2H_TERM, f'PDU type {self.type}, not C2HTermReq'
        fes, low, high = struct.unpack_from('<HHH', self.header, 8)
        return fes, low | high << 16


class Cqe:
    def __init__(self, raw):
        (self.dw0, self.dw1, self.sqhd, self.sqid, self.cid,
         status) = struct.unpack('<IIHHHH', raw)
        self.status = status >> 1
        self.sc = self.status & 0x7ff
        self.dnr = bool(self.status & DNR)


def sgl(kind, length, addr=0):
    return struct.pack('<QI3xB', addr, length, {'capsule': 0x01, 'transport': 0x5a}.get(
        kind, kind))


def sqe(opcode, cid, nsid=0, flags=0x40, cdw2=0, cdw3=0, sgl_=b'', cdw10=0, cdw11=0,
        cdw12=0, cdw13=0, cdw14=0, cdw15=0):
    return struct.pack('<BBHIIIQ16sIIIIII', opcode, flags, cid, nsid, cdw2, cdw3, 0,
                       sgl_ or sgl('transport', 0), cdw10, cdw11, cdw12, cdw13, cdw14,
                       cdw15)


class Queue:
    def __init__(self, port, hdgst=False, ddgst=False, hpda=0, ic=True, timeout=60):
        self.s = self.dial(port, timeout)
        self.hdgst, self.ddgst, self.cid = hdgst, ddgst, 0
        self.flow, self.nsid, self.cntlid = False, None, None
        if ic:
            self.send(self.icreq(digest=hdgst | ddgst << 1, hpda=hpda))
            r = self.recv()
            assert r.type == ICRESP and r.plen == 128
            pfv, self.cpda, digest, self.maxh2c = struct.unpack_from('<HBBI', r.header, 8)
            assert (pfv, self.cpda, digest) == (0, 0, hdgst | ddgst << 1)

    def dial(self, port, timeout):
        s = socket.create_connection(('127.0.0.1', port), timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def close(self):
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- PDUs ----

    @staticmethod
    def icreq(type_=ICREQ, flags=0, hlen=128, pdo=0, plen=128, pfv=0, hpda=0, digest=0,
              maxr2t=0):
        return struct.pack('<BBBBIHBBI112x', type_, flags, hlen, pdo, plen, pfv, hpda,
                           digest, maxr2t)

    def pdu(self, type_, body, data=b'', flags=None, hlen=None, pdo=None, plen=None,
            pad=0, hdgst=None, ddgst=None):
        """A PDU with all its lengths and digests right, but for what is given."""
        n = 8 + len(body)
        head_len = n + (4 if self.hdgst else 0)
        start = head_len + pad
        total = start + len(data) + (4 if self.ddgst else 0) if data else head_len
        if flags is None:
            flags = 0
        if self.hdgst:
            flags |= HDGST
        if self.ddgst and data:
            flags |= DDGST
        head = struct.pack('<BBBBI', type_, flags, n if hlen is None else hlen,
                           (start if data else 0) if pdo is None else pdo,
                           total if plen is None else plen) + body
        out = head
        if self.hdgst:
            out += crc32c(head) if hdgst is None else hdgst
        if data:
            out += bytes(pad) + data
            if self.ddgst:
                out += crc32c(data) if ddgst is None else ddgst
        return out

    def send(self, raw):
        self.s.sendall(raw)

    def _exactly(self, n):
        out = bytearray()
        while len(out) < n:
            try:
                piece = self.s.recv(n - len(out))
            except ConnectionError:
                piece = b''
            if not piece:
                raise Ended()
            out += piece
        return bytes(out)

    def recv(self):
        raw = self._exactly(8)
        type_, flags, hlen, pdo, plen = struct.unpack('<BBBBI', raw)
        assert plen < 4 << 20, f'plen {plen}'
        raw += self._exactly(plen - 8)
        data = b''
        if flags & HDGST:
            assert raw[hlen:hlen + 4] == crc32c(raw[:hlen]), 'header digest'
        if type_ == C2H_DATA:
            end = plen - (4 if flags & DDGST else 0)
            data = raw[pdo:end]
            if flags & DDGST:
                assert raw[end:] == crc32c(data), 'data digest'
        return Pdu(raw[:hlen], data, raw)

    def ended(self):
        """Reads to the end of the stream; True when it comes."""
        try:
            while True:
                self.recv()
        except Ended:
            return True

    def next_cid(self):
        self.cid = (self.cid + 1) & 0xffff
        return self.cid

    # ---- commands ----

    def cmd(self, sqe_, data=b'', **spoil):
        self.send(self.pdu(CMD, sqe_, data, **spoil))

    def answer(self):
        """The next completion, with the data before it: (Cqe, bytes)."""
        data = b''
        while True:
            p = self.recv()
            if p.type == RSP:
                return Cqe(p.raw[8:24]), data
            assert p.type == C2H_DATA, f'PDU type {p.type}'
            data += p.data
            if p.flags & SUCCESS:
                assert p.flags & LAST
                cid = struct.unpack_from('<H', p.header, 8)[0]
                return Cqe(struct.pack('<IIHHHH', 0, 0, 0, 0, cid, 0)), data

    def do(self, sqe_, data=b'', **spoil):
        """Sends a command, serves its R2T from `data` unless it went in the capsule."""
        in_capsule = sqe_[39] == 0x01
        self.cmd(sqe_, data if in_capsule else b'', **spoil)
        if data and not in_capsule:
            p = self.recv()
            if p.type == RSP:
                return Cqe(p.raw[8:24]), b''
            assert p.type == R2T, f'PDU type {p.type}'
            cid, ttag, offset, length = struct.unpack_from('<HHII', p.header, 8)
            assert (offset, length) == (0, len(data))
            self.h2c(cid, ttag, data)
        return self.answer()

    def h2c(self, cid, ttag, data, offset=0, piece=None, **spoil):
        """H2CData for all of `data`, in pieces."""
        piece = piece or self.maxh2c
        for at in range(0, len(data), piece):
            part = data[at:at + piece]
            self.h2c_one(cid, ttag, offset + at, part,
                         LAST if at + piece >= len(data) else 0, **spoil)

    def h2c_one(self, cid, ttag, offset, data, flags, length=None, **spoil):
        self.send(self.pdu(H2C_DATA, struct.pack(
            '<HHII4x', cid, ttag, offset, len(data) if length is None else length), data,
            flags=flags, **spoil))

    @staticmethod
    def connect_sqe(cid=0, qid=0, sqsize=31, cattr=4, kato=0, recfmt=0, sgl_=None):
        return struct.pack('<BBHB19x16sHHHBxI12x', 0x7f, 0x40, cid, 1,
                           sgl_ or sgl('capsule', 1024), recfmt, qid, sqsize, cattr, kato)

    @staticmethod
    def connect_data(sub, cntlid=0xffff, host=HOSTNQN, hostid=HOSTID):
        if isinstance(sub, str):
            sub = sub.encode()
        return struct.pack('<16sH238x256s256s256x', hostid, cntlid, sub, host.encode())

    def connect(self, sub=None, qid=0, cntlid=0xffff, sqsize=31, flow=False, kato=0,
                host=HOSTNQN, hostid=HOSTID, sgl_=None, recfmt=0):
        self.flow = flow
        cqe, _ = self.do(self.connect_sqe(self.next_cid(), qid, sqsize,
                                          0 if flow else 4, kato, recfmt, sgl_),
                         self.connect_data(sub or subnqn(), cntlid, host, hostid))
        if not cqe.status:
            self.cntlid = cqe.dw0 & 0xffff
        return cqe

    def prop_set(self, offset, value, attrib=0):
        return self.do(struct.pack('<BBHB35xB3xIQ8x', 0x7f, 0x40, self.next_cid(), 0,
                                   attrib, offset, value))[0]

    def prop_get(self, offset, attrib=0):
        return self.do(struct.pack('<BBHB35xB3xI16x', 0x7f, 0x40, self.next_cid(), 4,
                                   attrib, offset))[0]

    def enable(self):
        cqe = self.prop_set(0x14, 6 << 16 | 4 << 20 | 1)
        assert cqe.status == 0, hex(cqe.status)
        assert self.prop_get(0x1c).dw0 & 1

    def identify(self, cns, nsid=0, length=4096, cdw11=0):
        return self.do(sqe(IDENTIFY, self.next_cid(), nsid, cdw10=cns, cdw11=cdw11,
                           sgl_=sgl('transport', length)))

    def get_log(self, lid, length, offset=0, nsid=0xffffffff, flags=0):
        dwords = length // 4 - 1
        return self.do(sqe(GET_LOG, self.next_cid(), nsid,
                           cdw10=lid | flags | (dwords & 0xffff) << 16,
                           cdw11=dwords >> 16, cdw12=offset & 0xffffffff,
                           cdw13=offset >> 32, sgl_=sgl('transport', length)))

    def io(self, opcode, slba, nlb, data=b'', kind=None, nsid=None, **more):
        if kind is None:
            kind = 'capsule' if data and len(data) <= 16384 else 'transport'
        length = more.pop('length', nlb * BLOCK)
        return self.do(sqe(opcode, self.next_cid(), self.nsid if nsid is None else nsid,
                           sgl_=sgl(kind, length), cdw10=slba & 0xffffffff,
                           cdw11=slba >> 32, cdw12=nlb - 1, **more), data)

    def read(self, slba, nlb, **more):
        return self.io(READ, slba, nlb, **more)

    def write(self, slba, data, **more):
        return self.io(WRITE, slba, len(data) // BLOCK, data, **more)

    def dsm(self, ranges, attributes=4, kind='capsule', padded=False):
        data = b''.join(struct.pack('<IIQ', 0, nlb, slba) for slba, nlb in ranges)
        if padded:
            data = data.ljust(4096, b'\0')
        return self.do(sqe(DSM, self.next_cid(), self.nsid, sgl_=sgl(kind, len(data)),
                           cdw10=len(ranges) - 1, cdw11=attributes), data)[0]


class Controller:
    """An enabled controller with `n` I/O queues, as a well-behaved host makes it."""

    def __init__(self, port, n=1, sub=None, sqsize=31, io_sqsize=127, flow=False, kato=0,
                 queue_type=Queue, **queue):
        self.queue_type = queue_type
        self.port, self.sub, self.flow, self.options = port, sub, flow, queue
        self.admin = queue_type(port, **queue)
        cqe = self.admin.connect(sub, sqsize=sqsize, flow=flow, kato=kato)
        assert cqe.status == 0, f'connect: {cqe.status:#x}'
        self.admin.enable()
        self.io = []
        if sub == DISCOVERY:
            return
        cqe, ids = self.admin.identify(2)
        assert cqe.status == 0
        self.nsid = struct.unpack_from('<I', ids)[0]
        for qid in range(1, n + 1):
            self.add(qid, io_sqsize)

    def add(self, qid, sqsize=127):
        q = self.queue_type(self.port, **self.options)
        cqe = q.connect(self.sub, qid, self.admin.cntlid, sqsize, self.flow)
        assert cqe.status == 0, f'connect of queue {qid}: {cqe.status:#x}'
        q.nsid = self.nsid
        self.io.append(q)
        return q

    def close(self):
        for q in self.io + [self.admin]:
            q.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def free_port():
    while True:
        port = random.randint(10240, 32000)
        with socket.socket() as s:
            try:
                s.bind(('127.0.0.1', port))
            except OSError:
                continue
            return port


class Server:
    """A memserver in a folder of its own; ends with the `with` block."""

    def __init__(self, *flags, export=('64M',), env=None):
        # On a tmpfs already: the pool need not mount one.
        self.dir = tempfile.mkdtemp(prefix='nvme.', dir='/dev/shm')
        self.port, self.discovery = free_port(), free_port()
        build = os.environ.get('B') or os.path.join(os.path.dirname(__file__),
                                                    '../../build')
        self.log = os.path.join(self.dir, 'log')
        self.cmd = [os.path.join(build, 'memserver'),
                    *[f'--export={e}' for e in export],
                    f'--nvme=127.0.0.1:{self.port}',
                    f'--discovery=127.0.0.1:{self.discovery}', '--nbd=off',
                    '--metrics=off', f'--control={self.dir}/ctl',
                    f'--pool={os.path.join(self.dir, "pool")}', *flags]
        self.env = env
        self.start()

    def start(self):
        with open(self.log, 'ab') as log:
            self.p = subprocess.Popen(self.cmd, stdin=subprocess.DEVNULL, stdout=log,
                                      stderr=log, env={**os.environ, **(self.env or {})})
        end = time.monotonic() + 60
        for port in self.port, self.discovery:
            while True:
                try:
                    socket.create_connection(('127.0.0.1', port)).close()
                    break
                except OSError:
                    if self.p.poll() is not None or time.monotonic() > end:
                        raise SystemExit(f'# memserver did not start: {self.said()}')
                    time.sleep(0.02)

    def said(self):
        with open(self.log, errors='replace') as f:
            return f.read()

    def alive(self):
        return self.p.poll() is None

    def kill(self):
        self.p.kill()
        self.p.wait()

    def stop(self):
        """Ends it; whatever a sanitizer has to say is a failure."""
        self.p.terminate()
        status, said = self.p.wait(60), self.said()
        shutil.rmtree(self.dir, ignore_errors=True)
        assert status == 0 and 'Sanitizer' not in said, f'status {status}:\n{said}'

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.alive():
            self.stop()


def until(true):
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end, 'waited two minutes'
        time.sleep(0.02)


class HostsServer(Server):
    """A memserver with a file of hosts, `usual` lines at first, given to it by `flag`."""

    def __init__(self, flag, usual, *flags, **more):
        self.hosts = f'/dev/shm/nvme-hosts.{os.getpid()}.{time.monotonic_ns()}'
        self.metrics = free_port()
        hosts(self, *usual)
        super().__init__(flag, self.hosts, '--max-conns=3000', f'--metrics=127.0.0.1:{self.metrics}',
                         *flags, **more)
        # A listening door is not all: control and metrics come after it.
        until(lambda: 'ready: nvme-discovery' in self.said())

    def __exit__(self, *_):
        super().__exit__()
        os.unlink(self.hosts)

    def ctl(self, *args):
        return subprocess.run([os.path.join(os.path.dirname(self.cmd[0]), 'memctl'), '-s',
                               f'{self.dir}/ctl', *args], capture_output=True, text=True, timeout=120)

    def metric(self, name):
        with urllib.request.urlopen(f'http://127.0.0.1:{self.metrics}/metrics', timeout=120) as f:
            for line in f.read().decode().splitlines():
                if line.startswith(f'memserver_{name} '):
                    return int(line.split()[1])
        raise AssertionError(f'no metric {name}')


def hosts(s, *lines):
    """Writes the file of hosts."""
    with open(s.hosts + '.new', 'w', opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write('\n'.join(lines) + '\n')
    os.rename(s.hosts + '.new', s.hosts)


def reload(s, how):
    said = len(s.said())
    if how == 'SIGHUP':
        s.p.send_signal(signal.SIGHUP)
    else:
        assert s.ctl('reload').returncode == 0
    until(lambda: 'read again' in s.said()[said:] or 'kept as it was' in s.said()[said:])


class Tap:
    """Each test is a function whose docstring is its sentence."""

    def __init__(self):
        self.tests = []

    def test(self, f):
        self.tests.append(f)
        return f

    def run(self, *args, after=None):
        """Runs all; `after` is called after each and has to hold as well."""
        import traceback
        bad = 0
        print(f'1..{len(self.tests)}', flush=True)
        for i, f in enumerate(self.tests, 1):
            sentence = ' '.join(f.__doc__.split()).rstrip('.')
            try:
                f(*args)
                if after:
                    after(*args)
                print(f'ok {i} - {sentence}', flush=True)
            except BaseException as e:  # noqa: a failed test must not end the others
                if isinstance(e, KeyboardInterrupt):
                    raise
                bad += 1
                print(f'not ok {i} - {sentence}')
                for line in traceback.format_exc().splitlines():
                    print('#', line)
                sys.stdout.flush()
        sys.exit(bad > 0)
