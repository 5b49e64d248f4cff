#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""The NBD door as doc/proto.md wants it, by libnbd and, where that is too polite, by bytes."""
import os
import subprocess
import sys

import nbd

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE + '/../hostile', HERE + '/..']
# pylint: disable=wrong-import-position,wildcard-import,unused-wildcard-import
from libnbdraw import *
from libserve import Memserver, main

MIB = 1 << 20
SIZE = 64 * MIB


def client(server, export='', structured=True, contexts=('base:allocation',), unix=False,
           block_size=True):
    h = nbd.NBD()
    h.set_export_name(export)
    h.set_full_info(True)
    h.set_request_structured_replies(structured)
    if hasattr(h, 'set_request_block_size'):
        h.set_request_block_size(block_size)
    for context in contexts:
        h.add_meta_context(context)
    if unix:
        h.connect_unix(server.unix)
    else:
        h.connect_tcp('127.0.0.1', str(server.port))
    return h


def extents(h, offset, length, flags=0):
    """[(length, flags)...], asked until all is told."""
    got = []

    def tell(_context, _offset, entries, _error):
        got.extend(zip(entries[::2], entries[1::2]))

    while sum(n for n, _ in got) < length:
        done = sum(n for n, _ in got)
        h.block_status(length - done, offset + done, tell, flags)
        assert sum(n for n, _ in got) > done
    merged = []
    for n, kind in got:
        if merged and merged[-1][1] == kind:
            merged[-1] = (merged[-1][0] + n, kind)
        else:
            merged.append((n, kind))
    return merged


def code(call, *arguments):
    """The errno of a failed libnbd call, 0 of a good one."""
    try:
        call(*arguments)
    except nbd.Error as e:
        return e.errnum
    return 0


# ---- handshake ----

def handshake(tap, server):
    with Nbd(server.port) as c:
        tap.equal(struct.unpack('>QQH', c.hello), (MAGIC, OPTS, FIXED | NO_ZEROES),
                  'the greeting is fixed newstyle and offers to leave out the zeroes')
    for flags, zeroes in ((FIXED | NO_ZEROES, 0), (FIXED, 124), (NO_ZEROES, 0), (0, 124)):
        with tap.point(f'EXPORT_NAME with client flags {flags} gets {zeroes} zero bytes'):
            for export in ('', 'default', 'other'):
                with Nbd(server.port, flags=flags) as c:
                    c.export_name(export, zeroes)
                    assert c.size == (MIB if export == 'other' else SIZE)
                    assert c.read(0, 4096) == bytes(4096)

    with tap.point('LIST names every export, in order, and ends with an ACK'):
        with Nbd(server.port) as c:
            several, kind = c.option(LIST)
            assert kind == REP_ACK
            assert several == [(REP_SERVER, name('default')), (REP_SERVER, name('other'))]

    with tap.point('INFO tells what GO tells, and the talk goes on'):
        with Nbd(server.port) as c:
            for want in ([], [INFO_NAME], [INFO_DESCRIPTION], [INFO_BLOCK_SIZE],
                         [INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE, INFO_EXPORT]):
                several, kind = c.option(INFO, info_data('', *want))
                assert kind == REP_ACK
                told = sorted(struct.unpack('>H', data[:2])[0] for _, data in several)
                assert told == sorted({INFO_EXPORT, *want}), told
            given = c.go('', INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE)
            assert struct.unpack('>III', given[INFO_BLOCK_SIZE]) == (512, 4096, MAX)
            assert b'memserver' in given[INFO_DESCRIPTION]
            assert c.size == SIZE

    with tap.point('the flags say what is served: no DF without structured replies'):
        flags = 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11
        with Nbd(server.port) as c, Nbd(server.port) as d:
            c.go()
            d.go(structured=True)
            assert c.tflags == flags, hex(c.tflags)
            assert d.tflags == flags | 1 << 7, hex(d.tflags)

    with tap.point('the canonical name carries the generation and finds the same export'):
        with Nbd(server.port) as c:
            for export in ('', 'default'):
                several, _ = c.option(INFO, info_data(export, INFO_NAME))
                full = [data[2:].decode() for _, data in several if data[:2] == b'\0\1'][0]
                base, generation = full.split('@')
                assert base == 'default' and len(generation) == 12
            c.go(full)
            assert c.size == SIZE
        with Nbd(server.port) as c:
            for wrong in ('default@', full[:-1], full + '0', 'other@' + generation,
                          'default@' + generation[::-1], full.upper()):
                assert c.option(GO, info_data(wrong)) == ([], ERR_UNKNOWN), wrong

    with tap.point('STARTTLS is not supported, and said so'):
        with Nbd(server.port) as c:
            assert c.option(STARTTLS) == ([], ERR_UNSUP)

    with tap.point('meta contexts are listed by name, by namespace and all'):
        with Nbd(server.port) as c:
            c.option(STRUCTURED)
            for queries in ((), ('base:',), ('base:allocation',), ('x:y', 'base:allocation')):
                several, kind = c.option(LIST_META, meta_data('', *queries))
                assert kind == REP_ACK
                assert several == [(REP_META, bytes(4) + b'base:allocation')], (queries, several)
            assert c.option(LIST_META, meta_data('', 'qemu:dirty-bitmap:x')) == ([], REP_ACK)

    with tap.point('libnbd negotiates all of it, over TCP and a unix socket'):
        for unix in (False, True):
            for structured in (False, True):
                h = client(server, 'default', structured, unix=unix)
                assert h.get_size() == SIZE
                assert h.get_protocol() == 'newstyle-fixed'
                assert h.get_structured_replies_negotiated() == structured
                assert h.can_meta_context('base:allocation') == structured
                assert h.can_df() == structured
                assert all((h.can_multi_conn(), h.can_trim(), h.can_zero(), h.can_fast_zero(),
                            h.can_flush(), h.can_fua(), h.can_cache()))
                assert not h.is_read_only() and not h.is_rotational()
                assert h.get_block_size(nbd.SIZE_PREFERRED) == 4096
                h.shutdown()

    with tap.point('a soft disconnect is answered by the end of the connection'):
        with Nbd(server.port) as c:
            c.go()
            c.post(DISC)
            assert c.ended()


# ---- reading and writing ----

def data(tap, server):
    pattern = os.urandom(MIB)
    for unix in (False, True):
        for structured in (False, True):
            where = f"{'unix' if unix else 'TCP'}, {'structured' if structured else 'simple'} replies"
            with tap.point(f'what is written is read, in every size and place ({where})'):
                h = client(server, '', structured, unix=unix, block_size=False)
                for offset, length in ((0, 1), (1, 1), (511, 2), (4095, 2), (4096, 4096), (1, 4095),
                                       (12345, 54321), (SIZE - 1, 1), (SIZE - MIB, MIB),
                                       (2 * MIB - 1, 2), (777, MIB - 1)):
                    h.pwrite(pattern[:length], offset)
                    assert h.pread(length, offset) == pattern[:length], (offset, length)
                    if structured:
                        whole = []
                        got = h.pread_structured(length, offset, lambda *x: whole.append(x),
                                                 nbd.CMD_FLAG_DF)
                        assert got == pattern[:length] and len(whole) == 1
                h.pwrite(b'a' * 8192, 0)
                h.pwrite(b'b' * 100, 4090)
                assert h.pread(8192, 0) == b'a' * 4090 + b'b' * 100 + b'a' * 4002
                h.pwrite(pattern * 32, 0)
                assert h.pread(32 * MIB, 0) == pattern * 32
                h.trim(SIZE, 0)
                h.shutdown()

    with tap.point('holes and data in one read come in order'):
        h = client(server)
        h.trim(SIZE, 0)
        for page in (1, 2, 5, 600):
            h.pwrite(bytes([page % 251]) * 4096, page * 4096)
        want = bytearray(4 * MIB)
        for page in (1, 2, 5, 600):
            want[page * 4096:page * 4096 + 4096] = bytes([page % 251]) * 4096
        assert h.pread(4 * MIB, 0) == want
        chunks = []
        h.pread_structured(4 * MIB, 0, lambda d, o, s, e: chunks.append((o, len(d), s)),
                           nbd.CMD_FLAG_DF)
        assert chunks == [(0, 4 * MIB, nbd.READ_DATA)], chunks
        chunks = []
        h.pread_structured(8 * MIB, 8 * MIB, lambda d, o, s, e: chunks.append((o, s)))
        assert chunks == [(8 * MIB, nbd.READ_HOLE)], chunks
        h.trim(SIZE, 0)

    with tap.point('FUA, FLUSH and CACHE are taken'):
        h = client(server)
        h.pwrite(b'x' * 4096, 0, nbd.CMD_FLAG_FUA)
        h.flush()
        h.cache(SIZE, 0)
        h.zero(4096, 0, nbd.CMD_FLAG_FUA)
        h.trim(4096, 0, nbd.CMD_FLAG_FUA)
        with Nbd(server.port) as c:
            c.go()
            assert c.call(READ, 0, 4096, flags=FUA).error == 0
            assert c.call(FLUSH, flags=FUA).error == 0

    with tap.point('a thousand requests under way on one connection all come back right'):
        h = client(server)
        buffers = [nbd.Buffer.from_bytearray(bytearray(struct.pack('>I', n) * 1024)) for n in range(1000)]
        cookies = [h.aio_pwrite(b, n * 8192) for n, b in enumerate(buffers)]
        drain(h, cookies)
        back = [nbd.Buffer(4096) for _ in range(1000)]
        drain(h, [h.aio_pread(b, n * 8192) for n, b in enumerate(back)])
        for n, b in enumerate(back):
            assert b.to_bytearray() == struct.pack('>I', n) * 1024
        h.trim(SIZE, 0)

    with tap.point('errors are those of the protocol'):
        h = client(server)
        h.set_strict_mode(0)
        einval, enospc = 22, 28
        assert code(h.pread, 4096, SIZE) == einval
        assert code(h.trim, 4096, SIZE) == einval
        assert code(h.cache, 4096, SIZE) == einval
        assert code(h.pwrite, b'x' * 4096, SIZE) == enospc
        assert code(h.zero, 4096, SIZE) == enospc
        assert code(h.pread, 1, 0) == einval, 'less than the block size it was told'
        assert h.pread(512, 0) == bytes(512)

    with tap.point('a quota that is used up refuses writes, and the other export goes on'):
        h, other = client(server, 'other'), client(server)
        h.pwrite(b'q' * (MIB // 2), 0)
        assert code(h.pwrite, b'q' * 4096, MIB // 2) == 28
        assert code(h.zero, 4096, MIB // 2, nbd.CMD_FLAG_NO_HOLE) == 28
        other.pwrite(b'o' * 4096, 0)
        assert h.pread(MIB // 2, 0) == b'q' * (MIB // 2)
        h.trim(4096, 0)
        h.pwrite(b'q' * 4096, MIB // 2)
        h.trim(MIB, 0)
        other.trim(SIZE, 0)


def drain(h, cookies):
    for cookie in cookies:
        while not h.aio_command_completed(cookie):
            h.poll(-1)


# ---- memory that comes and goes ----

def memory(tap, server):
    h = client(server, block_size=False)
    with tap.point('nothing written, nothing taken; reading takes nothing'):
        assert server.stored() == 0
        h.pread(32 * MIB, 0)
        h.cache(SIZE, 0)
        assert server.stored() == 0
        h.pwrite(b'x', 5000)
        assert server.stored() == 4096
        h.trim(SIZE, 0)
        assert server.stored() == 0

    with tap.point('a trim gives each 4 KiB page back, and no other'):
        h.pwrite(b'x' * MIB, 0)
        for page in range(0, 256, 3):
            h.trim(4096, page * 4096)
        want = 256 - len(range(0, 256, 3))
        assert server.stored() == want * 4096, server.stored()
        got = h.pread(MIB, 0)
        assert got == b''.join((b'x' if p % 3 else b'\0') * 4096 for p in range(256))
        assert extents(h, 0, 12288) == [(4096, 3), (8192, 0)]
        h.trim(MIB, 0)
        assert server.stored() == 0

    with tap.point('what is trimmed in part of a page stays, what is zeroed there is zero'):
        h.pwrite(b'x' * 16384, 0)
        h.trim(8192, 100)
        assert server.stored() == 3 * 4096
        assert h.pread(100, 0) == b'x' * 100 and h.pread(4096, 4096) == bytes(4096)
        h.pwrite(b'x' * 16384, 0)
        h.zero(8192, 100)
        assert server.stored() == 3 * 4096
        assert h.pread(16384, 0) == b'x' * 100 + bytes(8192) + b'x' * (16384 - 8292)
        h.zero(10, 9000)
        assert h.pread(30, 8990) == b'x' * 10 + bytes(10) + b'x' * 10
        h.trim(SIZE, 0)

    with tap.point('an unaligned trim or zeroing of megabytes gives all whole pages back'):
        for call, left in ((h.trim, 2), (h.zero, 2)):
            h.pwrite(b'x' * (24 * MIB), 0)
            call(24 * MIB - 4096, 512)
            assert server.stored() == left * 4096, server.stored() / 4096
            assert h.pread(512, 0) == b'x' * 512
            assert h.pread(4096, 24 * MIB - 4096)[512:] == b'x' * 3584
            assert h.pread(24 * MIB - 8192, 4096) == bytes(24 * MIB - 8192)
            h.trim(SIZE, 0)

    with tap.point('WRITE_ZEROES makes holes, and with NO_HOLE memory'):
        h.pwrite(b'x' * MIB, 0)
        h.zero(MIB, 0)
        assert server.stored() == 0 and extents(h, 0, MIB) == [(MIB, 3)]
        h.zero(MIB, 0, nbd.CMD_FLAG_NO_HOLE)
        assert server.stored() == MIB and extents(h, 0, MIB) == [(MIB, 0)]
        h.pwrite(b'x' * MIB, 0)
        h.zero(MIB, 0, nbd.CMD_FLAG_NO_HOLE)
        assert h.pread(MIB, 0) == bytes(MIB)
        h.trim(SIZE, 0)

    with tap.point('FAST_ZERO is fast or refused, and then nothing has changed'):
        h.pwrite(b'x' * MIB, 0)
        assert code(h.zero, MIB, 0, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE) == 95
        assert h.pread(MIB, 0) == b'x' * MIB
        h.zero(MIB, 0, nbd.CMD_FLAG_FAST_ZERO)
        assert h.pread(MIB, 0) == bytes(MIB) and server.stored() == 0

    with tap.point('block status is exact, page by page, and in at most 16 pieces'):
        for page in (0, 1, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 16383):
            h.pwrite(b'x', page * 4096 + 17)
        told = extents(h, 0, SIZE)
        want, at = [], 0
        for first, last in ((0, 1), (10, 10), (12, 12), (14, 14), (16, 16), (18, 18), (20, 20),
                            (22, 22), (24, 24), (26, 26), (28, 28), (30, 30), (16383, 16383)):
            if first > at:
                want.append(((first - at) * 4096, 3))
            want.append(((last + 1 - first) * 4096, 0))
            at = last + 1
        assert told == want, told
        with Nbd(server.port) as c:
            c.go(structured=True, context=True)
            assert len(c.call(STATUS, 0, SIZE).extents) == 16
            assert c.call(STATUS, 0, SIZE, flags=REQ_ONE).extents == [(8192, 0)]
            assert c.call(STATUS, 100, 9000).extents == [(8092, 0), (908, 3)]
            assert c.call(STATUS, SIZE - 1, 1).extents == [(1, 0)]
        h.trim(SIZE, 0)
        assert extents(h, 0, SIZE) == [(SIZE, 3)]

    with tap.point('gigabytes are trimmed and zeroed by single requests'):
        with Nbd(server.port) as c:
            c.go()
            h.pwrite(b'x' * MIB, SIZE - MIB)
            assert c.trim(0, SIZE) == 0 and server.stored() == 0
            h.pwrite(b'x' * MIB, SIZE - MIB)
            assert c.zero(0, SIZE) == 0 and server.stored() == 0
    h.shutdown()


# ---- several connections ----

def several(tap, server):
    with tap.point('what one connection has acknowledged every other one reads'):
        clients = [client(server, unix=n % 2 == 1) for n in range(8)]
        for turn in range(200):
            writer = clients[turn % 8]
            value = struct.pack('>I', turn) * 1024
            if turn % 10 == 9:
                writer.zero(4096, 0)
                value = bytes(4096)
            else:
                writer.pwrite(value, 0)
            writer.flush()
            assert all(c.pread(4096, 0) == value for c in clients), turn
        clients[0].trim(SIZE, 0)


# ---- the server's end and its next life ----

def life(tap):
    server = Memserver('--export', 'default=64M', '--export', 'other=1M,quota=512K')
    handshake(tap, server)
    data(tap, server)
    memory(tap, server)
    several(tap, server)

    h = client(server)
    h.pwrite(b'kept' * 1024, 8192)
    h.pwrite(b'gone' * 1024, 0)
    h.trim(4096, 0)
    full = h.get_canonical_export_name()
    idle, working = Nbd(server.port), Nbd(server.unix)
    idle.go()
    working.go()
    working.send(*[working.request_bytes(READ, 0, MIB, cookie=n) for n in range(50)])
    Nbd(server.port, greet=False)
    tap.equal(server.stop(), 0, 'SIGTERM with clients in every state ends it in good order')
    tap.ok(idle.ended() and working.ended(), 'they see the end')
    tap.ok(not os.path.exists(server.unix), 'the unix socket is gone')
    tap.equal(server.complaints(), '', 'its sanitizers are silent')
    server.start()
    with tap.point('started again it has every byte, every hole and the same generation'):
        h = client(server, full)
        assert h.pread(16384, 0) == bytes(8192) + b'kept' * 1024 + bytes(4096)
        assert extents(h, 0, SIZE) == [(8192, 3), (4096, 0), (SIZE - 12288, 3)]
        assert server.stored() == 4096
        h.trim(SIZE, 0)
        assert server.stored() == 0
    server.process.kill()
    server.process.wait()
    with tap.point('a unix socket that a killed memserver left is taken over'):
        assert os.path.exists(server.unix)
        server.start()
        assert client(server, unix=True).get_size() == SIZE
    with tap.point('one that is in use is not'):
        done = subprocess.run([server.program, '--export', '1M', '--pool', server.pool + '/second',
                               '--nvme', 'off', '--metrics', 'off', '--control', server.dir + '/c2',
                               '--nbd', 'unix:' + server.unix], timeout=60, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 1 and b'in use' in done.stdout, done
        assert client(server, unix=True).get_size() == SIZE
    tap.equal(server.stop(), 0, 'it ends in good order')
    tap.equal(server.complaints(), '', 'and its sanitizers are silent')


main(life)
