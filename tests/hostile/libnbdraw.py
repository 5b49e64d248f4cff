# SPDX-License-Identifier: GPL-2.0-or-later
"""A small NBD client for tests: it sends what it is told, right or wrong.

Source of the protocol: NetworkBlockDevice/nbd, doc/proto.md.
"""
import socket
import struct

MAGIC, OPTS, OPT_REPLY = 0x4e42444d41474943, 0x49484156454f5054, 0x3e889045565a9
REQUEST, SIMPLE, CHUNK = 0x25609513, 0x67446698, 0x668e33ef
FIXED, NO_ZEROES = 1, 2
(EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO, STRUCTURED, LIST_META, SET_META) = (
    1, 2, 3, 5, 6, 7, 8, 9, 10)
REP_ACK, REP_SERVER, REP_INFO, REP_META = 1, 2, 3, 4
ERR_UNSUP, ERR_POLICY, ERR_INVALID, ERR_UNKNOWN, ERR_SHUTDOWN, ERR_TOO_BIG = (
    0x80000000 + n for n in (1, 2, 3, 6, 7, 9))
INFO_EXPORT, INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE = 0, 1, 2, 3
READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO = 1, 2, 4, 8, 16
EIO, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP = 5, 22, 28, 75, 95
HOLE, DATA, NONE, BLOCK_STATUS, ERROR = 2, 1, 0, 5, 32769
MAX = 32 << 20  # of a payload


class Ended(Exception):
    """The server has closed the connection."""


def name(text):
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack('>I', len(raw)) + raw


def info_data(export='', *requests):
    return name(export) + struct.pack(f'>H{len(requests)}H', len(requests), *requests)


def meta_data(export='', *queries):
    return name(export) + struct.pack('>I', len(queries)) + b''.join(map(name, queries))


class Reply:
    """Of a request: error, data (a read's), extents (a block status's), kind (chunk)."""

    def __init__(self, cookie, error=0, data=b'', extents=None, kind=None):
        self.cookie, self.error, self.data = cookie, error, data
        self.extents, self.kind = extents, kind

    def __repr__(self):
        return f'<reply {self.cookie:x} error {self.error} {len(self.data)} bytes ' \
               f'{self.extents if self.extents is not None else ""}>'


class Nbd:
    """One connection. `where` is a port of 127.0.0.1 or the path of a unix socket; `source`
    the address it comes from."""

    def __init__(self, where, greet=True, flags=FIXED | NO_ZEROES, timeout=60, rcvbuf=None,
                 source=None):
        if isinstance(where, int):
            self.s = socket.socket(socket.AF_INET)
            address = ('127.0.0.1', where)
        else:
            self.s = socket.socket(socket.AF_UNIX)
            address = where
        if source:
            self.s.bind((source, 0))
        if rcvbuf:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.s.settimeout(timeout)
        self.s.connect(address)
        if isinstance(where, int):
            self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.cookie = 0
        self.structured = False
        self.size = self.tflags = None
        if greet:
            self.hello = self.take(18)
            self.s.sendall(struct.pack('>I', flags))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.s.close()

    def vanish(self):
        """Ends with a reset, as a host that was switched off and on."""
        if self.s.family == socket.AF_INET:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.s.close()

    # ---- bytes ----

    def send(self, *pieces):
        self.s.sendall(b''.join(pieces))

    def take(self, n):
        data = bytearray(n)
        view, got = memoryview(data), 0
        while got < n:
            try:
                more = self.s.recv_into(view[got:])
            except (ConnectionResetError, BrokenPipeError) as e:
                raise Ended(str(e)) from e
            if not more:
                raise Ended(f'after {got} of {n} bytes')
            got += more
        return bytes(data)

    def ended(self):
        """Does the server end the connection (what it sends before is thrown away)?"""
        try:
            while self.s.recv(1 << 16):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        except TimeoutError:
            return False
        return True

    # ---- handshake ----

    @staticmethod
    def option_bytes(option, data=b'', length=None, magic=OPTS):
        return struct.pack('>QII', magic, option, len(data) if length is None else length) + data

    def option_reply(self, option):
        """One reply to `option`: (type, data)."""
        magic, of, kind, length = struct.unpack('>QIII', self.take(20))
        assert magic == OPT_REPLY, hex(magic)
        assert of == option, (of, option)
        return kind, self.take(length)

    def replies(self, option):
        """Those before the final one, and the final one's type."""
        several = []
        while True:
            kind, data = self.option_reply(option)
            if kind == REP_ACK or kind & 0x80000000:
                return several, kind
            several.append((kind, data))

    def option(self, option, data=b''):
        self.send(self.option_bytes(option, data))
        return self.replies(option)

    def go(self, export='', *infos, structured=False, context=False):
        """Into transmission; the informations given."""
        if structured:
            assert self.option(STRUCTURED)[1] == REP_ACK
            self.structured = True
        if context:
            several, kind = self.option(SET_META, meta_data(export, 'base:allocation'))
            assert kind == REP_ACK and len(several) == 1, (several, kind)
        several, kind = self.option(GO, info_data(export, *infos))
        assert kind == REP_ACK, hex(kind)
        given = {struct.unpack('>H', data[:2])[0]: data[2:] for _, data in several}
        self.size, self.tflags = struct.unpack('>QH', given[INFO_EXPORT])
        return given

    def export_name(self, export='', zeroes=0):
        self.send(self.option_bytes(EXPORT_NAME, export.encode()))
        self.size, self.tflags = struct.unpack('>QH', self.take(10))
        assert self.take(zeroes) == bytes(zeroes)

    # ---- transmission ----

    @staticmethod
    def request_bytes(command, offset=0, length=0, flags=0, cookie=0, magic=REQUEST):
        return struct.pack('>IHHQQI', magic, flags, command, cookie, offset, length)

    def post(self, command, offset=0, length=0, data=b'', flags=0):
        """Sends a request without waiting; its cookie."""
        self.cookie += 1
        self.send(self.request_bytes(command, offset, length or len(data), flags, self.cookie), data)
        return self.cookie

    def reply(self, length=0):
        """The next reply; `length` is that of the read it may be to (simple replies)."""
        magic, = struct.unpack('>I', self.take(4))
        if magic == SIMPLE:
            error, cookie = struct.unpack('>IQ', self.take(12))
            return Reply(cookie, error, b'' if error else self.take(length))
        assert magic == CHUNK and self.structured, hex(magic)
        flags, kind, cookie, size = struct.unpack('>HHQI', self.take(16))
        assert flags == 1, 'one chunk is a reply'
        body = self.take(size)
        if kind == ERROR:
            error, text = struct.unpack('>IH', body[:6])
            assert text == size - 6 and error
            return Reply(cookie, error, kind=kind)
        if kind == DATA:
            return Reply(cookie, data=body[8:], kind=kind)
        if kind == HOLE:
            return Reply(cookie, data=bytes(struct.unpack('>I', body[8:])[0]), kind=kind)
        if kind == BLOCK_STATUS:
            context, = struct.unpack('>I', body[:4])
            assert context == 1, context
            return Reply(cookie, extents=list(struct.iter_unpack('>II', body[4:])), kind=kind)
        assert kind == NONE and not body, (kind, body)
        return Reply(cookie, kind=kind)

    def call(self, command, offset=0, length=0, data=b'', flags=0):
        cookie = self.post(command, offset, length, data, flags)
        reply = self.reply(length if command == READ else 0)
        assert reply.cookie == cookie, (reply, cookie)
        return reply

    def read(self, offset, length, flags=0):
        reply = self.call(READ, offset, length, flags=flags)
        assert not reply.error, reply
        assert len(reply.data) == length
        return reply.data

    def write(self, offset, data, flags=0):
        return self.call(WRITE, offset, data=data, flags=flags).error

    def trim(self, offset, length, flags=0):
        return self.call(TRIM, offset, length, flags=flags).error

    def zero(self, offset, length, flags=0):
        return self.call(ZEROES, offset, length, flags=flags).error
