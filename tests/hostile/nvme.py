#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a hostile or broken NVMe/TCP host may do, and what it gets for it.

After every test a well-behaved host, connected since before the first one, still reads
what it wrote, and a new one can connect.
"""
import os
import resource
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from libnvme import *  # noqa: E402,F403

tap = Tap()
FIELD, SEQUENCE, HEADER_DIGEST, RANGE, LIMIT, UNSUPPORTED = 1, 2, 3, 4, 5, 6
BLOCKS = 64 * 256
WITNESS = os.urandom(4 * BLOCK)
CAPSULE, MDTS = 128 << 10, 128 << 10
INVALID_OPCODE, INVALID_FIELD, INVALID_NS, CMD_SEQ = 0x1, 0x2, 0xb, 0xc
SGL_LEN, SGL_TYPE, SGL_OFFSET, LBA_RANGE = 0xf, 0x11, 0x16, 0x80
TRANSIENT, CONNECT_PARAM, CONNECT_HOST = 0x22, 0x182, 0x184


def term_of(q, fes, fei=None):
    """The target says what was wrong, and ends the connection."""
    got = q.recv().term()
    assert got[0] == fes, f'FES {got[0]}, not {fes}'
    assert fei is None or got[1] == fei, f'FEI {got[1]:#x}, not {fei:#x}'
    assert q.ended()


def refused(cqe, sc, dnr=True):
    assert cqe.sc == sc, f'status {cqe.status:#x}, not {sc:#x}'
    assert cqe.dnr == dnr, f'status {cqe.status:#x}: DNR'


def fresh(s, **options):
    """A controller of its own, and its one I/O queue."""
    c = Controller(s.port, 1, **options)
    return c, c.io[0]


def bystander_lives(s):
    if s.witness is None:
        return
    assert s.alive(), 'memserver has died:\n' + s.said()
    cqe, data = s.witness.io[0].read(BLOCKS - 4, 4)
    assert cqe.status == 0 and data == WITNESS
    with Controller(s.port) as c:
        cqe, data = c.io[0].read(BLOCKS - 4, 4)
        assert cqe.status == 0 and data == WITNESS


# ---- ICReq ----

def bad_icreq(fes, fei, **spoil):
    def f(s):
        with Queue(s.port, ic=False) as q:
            q.send(q.icreq(**spoil))
            term_of(q, fes, fei)
    return f


for spoil, fes, fei in (
        (dict(type_=CMD), SEQUENCE, None), (dict(type_=0x55), SEQUENCE, None),
        (dict(flags=1), FIELD, 1), (dict(hlen=24), FIELD, 2), (dict(hlen=0), FIELD, 2),
        (dict(plen=0), FIELD, 4), (dict(plen=129), FIELD, 4),
        (dict(plen=0xffffffff), FIELD, 4), (dict(pfv=1), UNSUPPORTED, 8),
        (dict(hpda=32), FIELD, 10), (dict(hpda=255), FIELD, 10),
        (dict(digest=4), FIELD, 11), (dict(digest=0xff), FIELD, 11)):
    t = bad_icreq(fes, fei, **spoil)
    t.__doc__ = 'an ICReq with ' + ', '.join(
        f'{k.rstrip("_")} {v:#x}' for k, v in spoil.items()) + f' gets FES {fes}'
    tap.test(t)


@tap.test
def icreq_twice(s):
    """a second ICReq is a sequence error"""
    with Queue(s.port) as q:
        q.send(q.icreq())
        term_of(q, SEQUENCE)


@tap.test
def http(s):
    """a client that speaks HTTP is turned away at once"""
    with socket.create_connection(('127.0.0.1', s.port), timeout=60) as c:
        c.sendall(b'GET / HTTP/1.0\r\n\r\n')
        answer = b''
        while piece := c.recv(4096):
            answer += piece
        assert answer[0] == C2H_TERM


@tap.test
def capsule_before_icreq(s):
    """a Connect before ICReq is a sequence error"""
    with Queue(s.port, ic=False) as q:
        q.cmd(q.connect_sqe(), q.connect_data(subnqn()))
        term_of(q, SEQUENCE)


@tap.test
def icreq_and_nonsense_at_once(s):
    """an ICReq with nonsense behind it in one segment is answered, then refused"""
    with Queue(s.port, ic=False) as q:
        q.send(q.icreq() + bytes(100))
        assert q.recv().type == ICRESP
        term_of(q, SEQUENCE)


@tap.test
def icreq_in_pieces(s):
    """an ICReq and a Connect that come byte by byte are understood"""
    with Queue(s.port, ic=False) as q:
        for b in q.icreq():
            q.send(bytes([b]))
        assert q.recv().type == ICRESP
        for b in q.pdu(CMD, q.connect_sqe(), q.connect_data(subnqn())):
            q.send(bytes([b]))
        assert q.answer()[0].status == 0


# ---- PDU headers ----

def bad_header(fes, fei, type_=CMD, **spoil):
    def f(s):
        c, q = fresh(s)
        with c:
            q.send(q.pdu(type_, bytes(64 if type_ == CMD else 16), **spoil))
            term_of(q, fes, fei)
            # The other queue of the same controller is none the worse for it.
            assert c.admin.prop_get(0x1c).dw0 == 1
    return f


for what, fes, fei, spoil in (
        ('an unknown type', FIELD, 0, dict(type_=8)),
        ('type 255', FIELD, 0, dict(type_=255)),
        ('the type of a response', FIELD, 0, dict(type_=RSP)),
        ('the type of R2T', FIELD, 0, dict(type_=R2T)),
        ('the type of C2HTermReq', FIELD, 0, dict(type_=C2H_TERM)),
        ('header length 0', FIELD, 2, dict(hlen=0)),
        ('header length 255', FIELD, 2, dict(hlen=255)),
        ('header length 71', FIELD, 2, dict(hlen=71)),
        ('length 0', FIELD, 4, dict(plen=0)),
        ('length 71', FIELD, 4, dict(plen=71)),
        ('length 4 GiB - 1', FIELD, 4, dict(plen=0xffffffff, pdo=72)),
        ('a header digest nobody agreed on', FIELD, 1, dict(flags=HDGST)),
        ('a data digest of no data', FIELD, 1, dict(flags=DDGST)),
        ('data at offset 0', FIELD, 3, dict(data=bytes(8), pdo=0)),
        ('data inside the header', FIELD, 3, dict(data=bytes(8), pdo=68)),
        ('data at an odd offset', FIELD, 3, dict(data=bytes(8), pdo=73)),
        ('data beyond its end', FIELD, 4, dict(data=bytes(8), pdo=80)),
        ('an unasked data digest', FIELD, 1, dict(data=bytes(8), flags=DDGST)),
        ('more in-capsule data than IOCCSZ', FIELD, 4,
         dict(data=bytes(16), plen=72 + CAPSULE + 1))):
    t = bad_header(fes, fei, **spoil)
    t.__doc__ = f'a command PDU with {what} gets FES {fes}' + f' at {fei}'
    tap.test(t)


@tap.test
def admin_capsule_too_long(s):
    """more than 8 KiB of data in an admin capsule gets FES 1"""
    with Queue(s.port) as q:
        q.send(q.pdu(CMD, q.connect_sqe(), bytes(16), plen=72 + 8193))
        term_of(q, FIELD, 4)


@tap.test
def fabrics_capsule_too_long_on_io(s):
    """so does a Fabrics command on an I/O queue, whose capsules are larger"""
    c, q = fresh(s)
    with c:
        q.send(q.pdu(CMD, q.connect_sqe(), bytes(16), plen=72 + 8193))
        term_of(q, FIELD, 4)


@tap.test
def padding(s):
    """data may start behind padding, in commands and in H2CData"""
    c, q = fresh(s)
    with c:
        data = os.urandom(BLOCK)
        cqe, _ = q.do(sqe(WRITE, 1, q.nsid, sgl_=sgl('capsule', BLOCK)), data, pad=120)
        assert cqe.status == 0
        assert q.read(0, 1)[1] == data
        cid, ttag = awaiting(q, 1, slba=1)
        q.h2c_one(cid, ttag, 0, data, LAST, pad=56)
        assert q.answer()[0].status == 0
        assert q.read(1, 1)[1] == data


@tap.test
def host_term(s):
    """an H2CTermReq ends the queue, and one of a wrong length too"""
    c, q = fresh(s)
    with c:
        q.send(q.pdu(H2C_TERM, struct.pack('<HHH10x', 1, 0, 0)))
        assert q.ended()
        q = c.add(2)
        q.send(q.pdu(H2C_TERM, struct.pack('<HHH10x', 1, 0, 0), plen=153))
        term_of(q, FIELD, 4)


# ---- digests ----

@tap.test
def header_digest_wrong(s):
    """a wrong header digest gets FES 3 with the digest"""
    c, q = fresh(s, hdgst=True)
    with c:
        q.cmd(sqe(FLUSH, 1, q.nsid), hdgst=b'\1\2\3\4')
        term_of(q, HEADER_DIGEST, 0x04030201)


@tap.test
def header_digest_missing(s):
    """a PDU without the agreed header digest gets FES 1"""
    c, q = fresh(s, hdgst=True)
    with c:
        q.hdgst = False
        q.cmd(sqe(FLUSH, 1, q.nsid))
        term_of(q, FIELD, 1)


@tap.test
def data_digest_wrong_in_capsule(s):
    """a write whose data digest is wrong fails, may be retried, and then works"""
    c, q = fresh(s, ddgst=True)
    with c:
        data = os.urandom(BLOCK)
        command = sqe(WRITE, 1, q.nsid, sgl_=sgl('capsule', BLOCK))
        refused(q.do(command, data, ddgst=bytes(4))[0], TRANSIENT, dnr=False)
        assert q.do(command, data)[0].status == 0
        assert q.read(0, 1)[1] == data


@tap.test
def data_digest_wrong_in_h2c(s):
    """so does one whose data came by R2T, also when only its first piece was damaged"""
    c, q = fresh(s, hdgst=True, ddgst=True)
    with c:
        data = os.urandom(4 * BLOCK)
        cid, ttag = awaiting(q, 4)
        q.h2c_one(cid, ttag, 0, data[:BLOCK], 0, ddgst=bytes(4))
        q.h2c_one(cid, ttag, BLOCK, data[BLOCK:], LAST)
        refused(q.answer()[0], TRANSIENT, dnr=False)
        cqe, _ = q.write(0, data, kind='transport')
        assert cqe.status == 0
        assert q.read(0, 4)[1] == data


@tap.test
def data_digest_wrong_in_dsm(s):
    """a damaged list of ranges trims nothing"""
    c, q = fresh(s, ddgst=True)
    with c:
        data = os.urandom(BLOCK)
        assert q.write(0, data)[0].status == 0
        ranges = struct.pack('<IIQ', 0, 1, 0)
        for kind in 'capsule', 'transport':
            command = sqe(DSM, 1, q.nsid, sgl_=sgl(kind, 16), cdw11=4)
            if kind == 'capsule':
                q.cmd(command, ranges, ddgst=bytes(4))
            else:
                q.cmd(command)
                cid, ttag = r2t(q)
                q.h2c_one(cid, ttag, 0, ranges, LAST, ddgst=bytes(4))
            refused(q.answer()[0], TRANSIENT, dnr=False)
        assert q.read(0, 1)[1] == data


@tap.test
def data_digest_wrong_in_connect(s):
    """a Connect with a wrong data digest fails; the next one works"""
    with Queue(s.port, ddgst=True) as q:
        q.cmd(q.connect_sqe(), q.connect_data(subnqn()), ddgst=bytes(4))
        refused(q.answer()[0], TRANSIENT, dnr=False)
        assert q.connect().status == 0


@tap.test
def digests_of_refused_writes(s):
    """the digest of data that nobody wants is skipped"""
    c, q = fresh(s, hdgst=True, ddgst=True)
    with c:
        refused(q.write(BLOCKS, bytes(BLOCK))[0], LBA_RANGE)
        assert q.io(FLUSH, 0, 1, length=0)[0].status == 0


# ---- H2CData ----

def r2t(q):
    p = q.recv()
    assert p.type == R2T, f'PDU type {p.type}'
    return struct.unpack_from('<HH', p.header, 8)


def awaiting(q, nlb, slba=0, cid=77):
    """A write that waits for its data: (cid, ttag)."""
    q.cmd(sqe(WRITE, cid, q.nsid, sgl_=sgl('transport', nlb * BLOCK), cdw10=slba,
              cdw12=nlb - 1))
    return r2t(q)


def bad_h2c(fes, fei, ttag=None, cid=None, offset=0, size=BLOCK, flags=0, length=None,
            before=0):
    def f(s):
        c, q = fresh(s)
        with c:
            real_cid, real_ttag = awaiting(q, 2)
            if before:
                q.h2c_one(real_cid, real_ttag, 0, bytes(before), 0)
            q.h2c_one(real_cid if cid is None else cid,
                      real_ttag if ttag is None else ttag, offset, bytes(size), flags,
                      length)
            term_of(q, fes, fei)
    return f


for what, fes, fei, spoil in (
        ('a transfer tag beyond the queue', FIELD, 10, dict(ttag=128)),
        ('transfer tag FFFFh', FIELD, 10, dict(ttag=0xffff)),
        ('the tag of no command', FIELD, 10, dict(ttag=100)),
        ('the identifier of another command', FIELD, 8, dict(cid=78)),
        ('an offset beyond its R2T', RANGE, 12, dict(offset=2 * BLOCK)),
        ('offset FFFFFFFCh', RANGE, 12, dict(offset=0xfffffffc)),
        ('an offset that leaves a gap', RANGE, 12, dict(offset=BLOCK)),
        ('an offset that goes back', RANGE, 12, dict(offset=0, before=BLOCK)),
        ('more data than its R2T', RANGE, 16, dict(size=3 * BLOCK, flags=LAST)),
        ('more data than is left', RANGE, 16, dict(offset=BLOCK, size=2 * BLOCK,
                                                   flags=LAST, before=BLOCK)),
        ('another length than it has', FIELD, 16, dict(length=BLOCK + 4)),
        ('length 0 for data', FIELD, 16, dict(length=0)),
        ('no data', FIELD, 16, dict(size=0)),
        ('no last flag at the end', FIELD, 1, dict(size=2 * BLOCK)),
        ('a last flag before the end', FIELD, 1, dict(flags=LAST)),
        ('more data than MAXH2CDATA', LIMIT, 0, dict(size=MDTS + 4))):
    t = bad_h2c(fes, fei, **spoil)
    t.__doc__ = f'H2CData with {what} gets FES {fes}'
    tap.test(t)


@tap.test
def h2c_before_r2t(s):
    """H2CData that guesses its tag before the R2T is out is refused"""
    c, q = fresh(s)
    with c:
        data = bytes(BLOCK)
        command = sqe(WRITE, 1, q.nsid, sgl_=sgl('transport', BLOCK))
        # Which slot comes first is no secret; all are tried, in one segment.
        q.send(q.pdu(CMD, command) + q.pdu(
            H2C_DATA, struct.pack('<HHII4x', 1, 0, 0, BLOCK), data, flags=LAST))
        p = q.recv()
        if p.type == R2T:
            p = q.recv()
        assert p.term() == (FIELD, 10)
        assert q.ended()


@tap.test
def h2c_for_in_capsule(s):
    """H2CData for a command that is answered already is refused"""
    c, q = fresh(s)
    with c:
        cid, ttag = awaiting(q, 1)
        q.h2c(cid, ttag, bytes(BLOCK))
        assert q.answer()[0].status == 0
        q.h2c(cid, ttag, bytes(BLOCK))
        term_of(q, FIELD, 10)


@tap.test
def h2c_on_admin(s):
    """H2CData on the admin queue, and before Connect, is refused"""
    with Queue(s.port) as q:
        q.h2c(0, 0, bytes(16))
        term_of(q, FIELD, 10)
    with Controller(s.port, 0) as c:
        c.admin.h2c(0, 0, bytes(16))
        term_of(c.admin, FIELD, 10)


@tap.test
def h2c_in_many_pieces(s):
    """data may come in pieces of any size, of several commands in turn"""
    c, q = fresh(s)
    with c:
        a, b = os.urandom(3 * BLOCK), os.urandom(3 * BLOCK)
        ta, tb = awaiting(q, 3, 0, 1), awaiting(q, 3, 3, 2)
        at = 0
        for n in 4, 1000, 4096, 52, 3 * BLOCK - 5152:
            last = LAST if at + n == 3 * BLOCK else 0
            q.h2c_one(*ta, at, a[at:at + n], last)
            q.h2c_one(*tb, at, b[at:at + n], last)
            at += n
        assert [q.answer()[0].status for _ in range(2)] == [0, 0]
        assert q.read(0, 6)[1] == a + b


@tap.test
def dsm_in_pieces(s):
    """a list of ranges may be cut anywhere, also inside a range"""
    c, q = fresh(s)
    with c:
        data = os.urandom(8 * BLOCK)
        assert q.write(0, data)[0].status == 0
        ranges = struct.pack('<IIQIIQIIQ', 0, 1, 1, 0, 2, 3, 0, 1, 7)
        q.cmd(sqe(DSM, 9, q.nsid, sgl_=sgl('transport', 48), cdw10=2, cdw11=4))
        tag = r2t(q)
        for at, n in (0, 4), (4, 24), (28, 4), (32, 16):
            q.h2c_one(*tag, at, ranges[at:at + n], LAST if at == 32 else 0)
        assert q.answer()[0].status == 0
        want = b''.join(bytes(BLOCK) if i in (1, 3, 4, 7) else
                        data[i * BLOCK:(i + 1) * BLOCK] for i in range(8))
        assert q.read(0, 8)[1] == want


# ---- SGLs and fields ----

def bad_io(sc, opcode=READ, slba=0, nlb=1, data=b'', kind='transport', length=None,
           addr=0, dnr=True, **more):
    def f(s):
        c, q = fresh(s)
        with c:
            nsid = more.pop('nsid', q.nsid)
            flags = more.pop('flags', 0x40)
            cqe, _ = q.do(sqe(opcode, 5, nsid, flags,
                              sgl_=sgl(kind, nlb * BLOCK if length is None else length,
                                       addr),
                              cdw10=slba & 0xffffffff, cdw11=slba >> 32,
                              cdw12=nlb - 1 | more.get('cdw12', 0)), data)
            assert cqe.cid == 5
            refused(cqe, sc, dnr)
            assert q.io(FLUSH, 0, 1, length=0)[0].status == 0
    return f


one = bytes(BLOCK)
for what, sc, spoil in (
        ('a reserved opcode', INVALID_OPCODE, dict(opcode=0x7e)),
        ('the opcode of Reservation Register', INVALID_OPCODE, dict(opcode=0x0d)),
        ('an unknown opcode with data', INVALID_OPCODE,
         dict(opcode=0x81, data=one, kind='capsule')),
        ('namespace 0', INVALID_NS, dict(nsid=0)),
        ('another namespace', INVALID_NS, dict(nsid=0x7ffffffe)),
        ('all namespaces', INVALID_NS, dict(nsid=0xffffffff)),
        ('the first half of a fused pair', INVALID_FIELD, dict(flags=0x41)),
        ('the second half of a fused pair', INVALID_FIELD, dict(flags=0x42)),
        ('PRPs', INVALID_FIELD, dict(flags=0)),
        ('a metadata SGL', INVALID_FIELD, dict(flags=0x80)),
        ('a directive', INVALID_FIELD, dict(cdw12=1 << 20)),
        ('a start beyond the end', LBA_RANGE, dict(slba=BLOCKS)),
        ('a start that overflows', LBA_RANGE, dict(slba=1 << 63)),
        ('a start that overflows in bytes', LBA_RANGE, dict(slba=1 << 52)),
        ('a start of all ones', LBA_RANGE, dict(slba=(1 << 64) - 1)),
        ('an end beyond the end', LBA_RANGE, dict(slba=BLOCKS - 1, nlb=2)),
        ('more blocks than MDTS', INVALID_FIELD, dict(nlb=MDTS // BLOCK + 1)),
        ('65536 blocks', INVALID_FIELD, dict(nlb=65536)),
        ('a shorter SGL', SGL_LEN, dict(length=BLOCK - 4)),
        ('a longer SGL', SGL_LEN, dict(length=2 * BLOCK)),
        ('an in-capsule SGL for a read', SGL_TYPE, dict(kind='capsule')),
        ('an in-capsule SGL and data for a read', SGL_TYPE,
         dict(kind='capsule', data=one)),
        ('a keyed SGL', SGL_TYPE, dict(kind=0x40)),
        ('SGL type FFh', SGL_TYPE, dict(kind=0xff))):
    t = bad_io(sc, **spoil)
    t.__doc__ = f'a read with {what} gets status {sc:#x}, and the queue lives on'
    if 'opcode' in spoil:
        t.__doc__ = t.__doc__.replace('a read', 'a command', 1)
    tap.test(t)

for what, sc, spoil in (
        ('a start beyond the end', LBA_RANGE, dict(slba=BLOCKS)),
        ('a start of all ones', LBA_RANGE, dict(slba=(1 << 64) - 1)),
        ('a shorter SGL', SGL_LEN, dict(length=BLOCK - 4)),
        ('more data than blocks', SGL_LEN, dict(data=one + one, length=2 * BLOCK)),
        ('an SGL longer than its capsule', SGL_LEN, dict(nlb=2)),
        ('an offset in its SGL', SGL_OFFSET, dict(addr=4)),
        ('an offset of all ones', SGL_OFFSET, dict(addr=(1 << 64) - 1)),
        ('an SGL of a reserved type', SGL_TYPE, dict(kind=0x31))):
    t = bad_io(sc, opcode=WRITE, **{**dict(data=one, kind='capsule'), **spoil})
    t.__doc__ = f'a write with {what} gets status {sc:#x}, and the queue lives on'
    tap.test(t)


@tap.test
def capsule_sgl_without_data(s):
    """a write that promises in-capsule data and has none gets status 0xf"""
    c, q = fresh(s)
    with c:
        q.cmd(sqe(WRITE, 3, q.nsid, sgl_=sgl('capsule', BLOCK)))
        refused(q.answer()[0], SGL_LEN)


@tap.test
def transport_sgl_with_data(s):
    """a write with data in its capsule that its SGL denies is refused"""
    c, q = fresh(s)
    with c:
        q.cmd(sqe(WRITE, 3, q.nsid, sgl_=sgl('transport', BLOCK)), one)
        refused(q.answer()[0], INVALID_FIELD)
        q.cmd(sqe(FLUSH, 4, q.nsid), one)
        refused(q.answer()[0], INVALID_FIELD)
        q.cmd(sqe(WRITE_ZEROES, 5, q.nsid), one)
        refused(q.answer()[0], INVALID_FIELD)


@tap.test
def write_zeroes_range(s):
    """Write Zeroes is held to the namespace's end"""
    c, q = fresh(s)
    with c:
        refused(q.io(WRITE_ZEROES, BLOCKS - 1, 2, length=0)[0], LBA_RANGE)
        refused(q.io(WRITE_ZEROES, (1 << 64) - 1, 65536, length=0)[0], LBA_RANGE)


@tap.test
def dsm_lies(s):
    """Dataset Management is held to its list's length and the namespace's end"""
    c, q = fresh(s)
    with c:
        def dsm(raw, nr, kind='capsule', length=None):
            return q.do(sqe(DSM, 6, q.nsid, cdw10=nr - 1, cdw11=4, sgl_=sgl(
                kind, len(raw) if length is None else length)), raw)[0]
        refused(dsm(bytes(16), 2), SGL_LEN)
        refused(dsm(bytes(4112), 256), SGL_LEN)
        refused(dsm(b'', 256, 'transport', 1 << 31), SGL_LEN)
        refused(dsm(struct.pack('<IIQ', 0, 1, BLOCKS), 1), LBA_RANGE)
        refused(dsm(struct.pack('<IIQ', 0, 0xffffffff, 1), 1), LBA_RANGE)
        refused(dsm(struct.pack('<IIQ', 0, 1, (1 << 64) - 1), 1), LBA_RANGE)
        refused(dsm(struct.pack('<IIQ', 0, 8, (1 << 52) - 4), 1), LBA_RANGE)
        assert dsm(struct.pack('<IIQ', 0, 0, 0), 1).status == 0


@tap.test
def duplicate_cids(s):
    """commands with the same identifier at the same time are all answered"""
    c, q = fresh(s)
    with c:
        tags = [awaiting(q, 1, i, cid=5) for i in range(4)]
        assert len({ttag for _, ttag in tags}) == 4
        for i, (cid, ttag) in enumerate(tags):
            q.h2c(cid, ttag, bytes([i]) * BLOCK)
        assert [q.answer()[0].cid for _ in range(4)] == [5] * 4
        assert q.read(0, 4)[1] == b''.join(bytes([i]) * BLOCK for i in range(4))


@tap.test
def too_many_commands(s):
    """more commands at a time than the queue has entries end it, and no fewer do"""
    with Controller(s.port, 1, io_sqsize=7) as c:
        q = c.io[0]
        tags = [awaiting(q, 1, i, i) for i in range(8)]
        for i, tag in enumerate(tags):
            q.h2c(*tag, bytes(BLOCK))
            assert q.answer()[0].cid == i
        for i in range(8):
            awaiting(q, 1, i, i)
        q.cmd(sqe(FLUSH, 9, q.nsid))
        term_of(q, SEQUENCE)


@tap.test
def too_many_admin_commands(s):
    """so it is on the admin queue, which event requests can fill"""
    with Queue(s.port) as q:
        assert q.connect(sqsize=3).status == 0
        q.enable()
        for i in range(4):
            q.cmd(sqe(AER, i))
        q.cmd(sqe(KEEP_ALIVE, 9))
        term_of(q, SEQUENCE)


# ---- Connect and what goes before and after ----

def bad_connect(sc, dw0=None, dnr=True, sqe_=None, **spoil):
    def f(s):
        with Queue(s.port) as q:
            if sqe_ is not None:
                q.cmd(sqe_, q.connect_data(subnqn()))
                cqe = q.answer()[0]
            else:
                cqe = q.connect(**spoil)
            refused(cqe, sc, dnr)
            assert dw0 is None or cqe.dw0 == dw0, f'{cqe.dw0:#x}, not {dw0:#x}'
            # Until now it is nobody: the right Connect is still welcome.
            assert q.connect().status == 0
    return f


DATA = 1 << 16
for what, sc, dw0, spoil in (
        ('an unknown subsystem', CONNECT_PARAM, DATA | 256, dict(sub=subnqn('nobody'))),
        ('a foreign NQN', CONNECT_PARAM, DATA | 256, dict(sub='nqn.2014-08.org:x')),
        ('an NQN that is the prefix only', CONNECT_PARAM, DATA | 256,
         dict(sub=subnqn(''))),
        ('a generation in the NQN', CONNECT_PARAM, DATA | 256,
         dict(sub=subnqn('default@0123456789ab'))),
        ('a path for an export', CONNECT_PARAM, DATA | 256,
         dict(sub=subnqn('../default'))),
        ('an NQN without an end', CONNECT_PARAM, DATA | 256, dict(sub=b'n' * 256)),
        ('an NQN of zeros', CONNECT_PARAM, DATA | 256, dict(sub=b'\0' * 256)),
        ('no host NQN', CONNECT_PARAM, DATA | 512, dict(host='')),
        ('a host NQN without an end', CONNECT_PARAM, DATA | 512, dict(host='h' * 256)),
        ('a controller of its own choice', CONNECT_PARAM, DATA | 16, dict(cntlid=1)),
        ('a queue of no entries', CONNECT_PARAM, 44, dict(sqsize=0)),
        ('a queue of 65536 entries', CONNECT_PARAM, 44, dict(sqsize=0xffff)),
        ('an I/O queue of no controller', CONNECT_PARAM, DATA | 16,
         dict(qid=1, cntlid=0xffee)),
        ('an I/O queue of the dynamic controller', CONNECT_PARAM, DATA | 16,
         dict(qid=1)),
        ('another record format', 0x180, None, dict(recfmt=1)),
        ('its data elsewhere', SGL_TYPE, None,
         dict(sqe_=Queue.connect_sqe(1, sgl_=sgl('transport', 1024)))),
        ('its data at an offset', SGL_OFFSET, None,
         dict(sqe_=Queue.connect_sqe(1, sgl_=sgl('capsule', 1024, 8)))),
        ('less data', SGL_LEN, None,
         dict(sqe_=Queue.connect_sqe(1, sgl_=sgl('capsule', 1023)))),
        ('4 GiB of data', SGL_LEN, None,
         dict(sqe_=Queue.connect_sqe(1, sgl_=sgl('capsule', 0xffffffff))))):
    t = bad_connect(sc, dw0, **spoil)
    t.__doc__ = f'a Connect with {what} gets status {sc:#x}'
    tap.test(t)


@tap.test
def connect_without_data(s):
    """a Connect whose data is missing or cut short gets status 0xf"""
    with Queue(s.port) as q:
        q.cmd(q.connect_sqe())
        refused(q.answer()[0], SGL_LEN)
        q.cmd(q.connect_sqe(), bytes(1000))
        refused(q.answer()[0], SGL_LEN)


@tap.test
def connect_bad_queues(s):
    """an I/O queue has to name its controller's host, subsystem and a free number"""
    with Controller(s.port, 1) as c:
        def io(**k):
            with Queue(s.port) as q:
                return q.connect(**{**dict(qid=2, cntlid=c.admin.cntlid), **k})
        refused(io(qid=1), CMD_SEQ)
        refused(io(qid=65), CONNECT_PARAM)
        refused(io(qid=0xffff), CONNECT_PARAM)
        refused(io(host=HOSTNQN + 'x'), CONNECT_PARAM)
        refused(io(hostid=bytes(16)), CONNECT_PARAM)
        refused(io(sub=DISCOVERY), CONNECT_PARAM)
        refused(io(sqsize=1024), CONNECT_PARAM)
        assert io(sqsize=1023).status == 0


@tap.test
def connect_twice(s):
    """a second Connect on a queue is out of sequence"""
    with Controller(s.port, 1) as c:
        refused(c.admin.connect(), CMD_SEQ)
        refused(c.io[0].connect(qid=1, cntlid=c.admin.cntlid), CMD_SEQ)


@tap.test
def io_queue_before_enable(s):
    """an I/O queue of a controller that is not enabled is out of sequence"""
    with Queue(s.port) as admin, Queue(s.port) as q:
        assert admin.connect().status == 0
        refused(q.connect(qid=1, cntlid=admin.cntlid), CMD_SEQ)


@tap.test
def commands_before_connect(s):
    """every command before Connect is out of sequence, one after the other"""
    with Queue(s.port) as q:
        for opcode in IDENTIFY, AER, KEEP_ALIVE, READ, 0x7e:
            q.cmd(sqe(opcode, 1, 1))
            refused(q.answer()[0], CMD_SEQ)
        refused(q.prop_get(0), CMD_SEQ)
        assert q.connect().status == 0


@tap.test
def commands_before_enable(s):
    """admin commands before the controller is enabled are out of sequence"""
    with Queue(s.port) as q:
        assert q.connect().status == 0
        refused(q.identify(1)[0], CMD_SEQ)
        q.cmd(sqe(KEEP_ALIVE, 1))
        refused(q.answer()[0], CMD_SEQ)
        q.enable()
        assert q.identify(1)[0].status == 0


@tap.test
def bad_configuration(s):
    """a controller configured as it cannot be says so in CSTS.CFS"""
    for cc in (1, 6 << 16 | 4 << 20 | 1 << 7 | 1, 7 << 16 | 4 << 20 | 1,
               6 << 16 | 4 << 20 | 1 << 11 | 1, 6 << 16 | 4 << 20 | 3 << 4 | 1):
        with Queue(s.port) as q:
            assert q.connect().status == 0
            assert q.prop_set(0x14, cc).status == 0
            assert q.prop_get(0x1c).dw0 == 2
            assert q.prop_set(0x14, 0).status == 0
            q.enable()


@tap.test
def reset_and_shutdown(s):
    """disabling or shutting down a controller ends its I/O queues"""
    for cc, csts in (6 << 16 | 4 << 20, 0), (6 << 16 | 4 << 20 | 1 | 1 << 14, 9):
        with Controller(s.port, 2) as c:
            for i in range(3):
                c.admin.cmd(sqe(AER, i))
            assert c.admin.prop_set(0x14, cc).status == 0
            assert c.admin.prop_get(0x1c).dw0 == csts
            assert c.io[0].ended() and c.io[1].ended()
            assert c.admin.prop_set(0x14, 0).status == 0
            c.admin.enable()
            # The event requests are gone with the reset: there is room for as many.
            for i in range(4):
                c.admin.cmd(sqe(AER, i))
            refused(c.admin.do(sqe(AER, 9))[0], 0x105)
            assert c.add(1).read(0, 1)[0].status == 0


@tap.test
def properties(s):
    """properties that are not there, or of another size, are refused"""
    with Controller(s.port, 0) as c:
        q = c.admin
        for offset, attrib in (0, 0), (8, 1), (0x14, 1), (0x18, 0), (0x1000, 0), (
                0xfffffffc, 0), (0, 2), (8, 7):
            refused(q.prop_get(offset, attrib), INVALID_FIELD)
        for offset in 0, 8, 0x1c, 0x20, 0xffffffff:
            refused(q.prop_set(offset, 1), INVALID_FIELD)
        refused(q.prop_set(0x14, 1, attrib=1), INVALID_FIELD)
        cap = q.prop_get(0, 1)
        assert cap.status == 0 and cap.dw0 & 0xffff == 1023
        assert q.prop_get(8).dw0 == 0x10400


@tap.test
def fabrics_unknown(s):
    """unknown and unsupported Fabrics commands are refused on every queue"""
    with Controller(s.port, 1) as c:
        for q in c.admin, c.io[0]:
            for fctype in 2, 5, 6, 0x77, 0xff:
                q.cmd(sqe(0x7f, 1, fctype))
                refused(q.answer()[0], INVALID_OPCODE)
        c.io[0].cmd(sqe(0x7f, 1, 4))
        refused(c.io[0].answer()[0], INVALID_OPCODE)


@tap.test
def disconnect(s):
    """Disconnect ends an I/O queue after its answer, and is refused elsewhere"""
    with Controller(s.port, 1) as c:
        c.admin.cmd(sqe(0x7f, 1, 8))
        refused(c.admin.answer()[0], 0x185)
        c.io[0].cmd(sqe(0x7f, 1, 8, cdw10=1))
        refused(c.io[0].answer()[0], 0x180)
        c.io[0].cmd(sqe(0x7f, 1, 8))
        assert c.io[0].answer()[0].status == 0
        assert c.io[0].ended()
        assert c.add(1).read(0, 1)[0].status == 0


# ---- admin commands ----

@tap.test
def admin_fields(s):
    """admin commands with wrong fields are refused, one by one"""
    with Controller(s.port, 0) as c:
        q, n = c.admin, c.nsid
        for command, sc in (
                (sqe(0x01, 1), INVALID_OPCODE), (sqe(0xc0, 1), INVALID_OPCODE),
                (sqe(0x0d, 1), INVALID_OPCODE),
                (sqe(IDENTIFY, 1, flags=0, cdw10=1, sgl_=sgl('transport', 4096)),
                 INVALID_FIELD),
                (sqe(IDENTIFY, 1, cdw10=1, sgl_=sgl('transport', 4095)), SGL_LEN),
                (sqe(IDENTIFY, 1, cdw10=1, sgl_=sgl('transport', 1 << 31)), SGL_LEN),
                (sqe(IDENTIFY, 1, cdw10=1, sgl_=sgl('capsule', 4096)), SGL_TYPE),
                (sqe(IDENTIFY, 1, cdw10=0x99, sgl_=sgl('transport', 4096)),
                 INVALID_FIELD),
                (sqe(IDENTIFY, 1, n + 1, sgl_=sgl('transport', 4096)), INVALID_NS),
                (sqe(IDENTIFY, 1, 0, cdw10=3, sgl_=sgl('transport', 4096)), INVALID_NS),
                (sqe(IDENTIFY, 1, 0xfffffffe, cdw10=2, sgl_=sgl('transport', 4096)),
                 INVALID_NS),
                (sqe(IDENTIFY, 1, n, cdw10=6, cdw11=2 << 24,
                     sgl_=sgl('transport', 4096)), INVALID_FIELD),
                (sqe(GET_LOG, 1, cdw10=0x55, sgl_=sgl('transport', 4)), 0x109),
                (sqe(GET_LOG, 1, cdw10=0x70, sgl_=sgl('transport', 4)), 0x109),
                (sqe(GET_LOG, 1, cdw10=2, cdw12=2, sgl_=sgl('transport', 4)),
                 INVALID_FIELD),
                (sqe(GET_LOG, 1, cdw10=2 | 0xffff << 16, cdw11=0xffff,
                     sgl_=sgl('transport', 0)), INVALID_FIELD),
                (sqe(SET_FEATURES, 1, cdw10=7, cdw11=0xffff), INVALID_FIELD),
                (sqe(SET_FEATURES, 1, cdw10=0xb, cdw11=1 << 14), INVALID_FIELD),
                (sqe(SET_FEATURES, 1, cdw10=6, cdw11=1), INVALID_FIELD),
                (sqe(SET_FEATURES, 1, cdw10=1, cdw11=1), 0x10e),
                (sqe(SET_FEATURES, 1, cdw10=0xf | 1 << 31), 0x10d),
                (sqe(SET_FEATURES, 1, cdw10=0x81), CMD_SEQ),
                (sqe(GET_FEATURES, 1, cdw10=6), INVALID_FIELD),
                (sqe(GET_FEATURES, 1, cdw10=0x99), INVALID_FIELD),
                (sqe(GET_FEATURES, 1, cdw10=7 | 1 << 8), INVALID_FIELD)):
            q.cmd(command)
            cqe = q.answer()[0]
            try:
                refused(cqe, sc)
            except AssertionError as e:
                raise AssertionError(f'{command.hex()}: {e}') from e


@tap.test
def log_windows(s):
    """any part of a log page may be asked for, also beyond its end"""
    with Controller(s.port, 0) as c:
        q = c.admin
        whole = q.get_log(5, 4096)[1]
        for offset, length in (0, 4), (4, 4), (1024, 2048), (4092, 8), (4096, 16):
            part = q.get_log(5, length, offset)[1]
            assert part == (whole + bytes(4096))[offset:offset + length]
        for offset in 1 << 20, (1 << 63) + 4, (1 << 64) - 4:
            assert q.get_log(5, 64, offset)[1] == bytes(64)
        assert len(q.get_log(2, MDTS)[1]) == MDTS


@tap.test
def aborts(s):
    """Abort takes an event request back and no more than that"""
    with Controller(s.port, 0) as c:
        q = c.admin
        for i in range(3):
            q.cmd(sqe(AER, 40 + i))
        q.cmd(sqe(ABORT, 1, cdw10=41 << 16))
        a, b = q.answer()[0], q.answer()[0]
        assert (a.cid, a.sc) == (41, 7) and (b.cid, b.dw0) == (1, 0)
        for cdw10 in 41 << 16, 99 << 16, 40 << 16 | 1, 40 << 16 | 0xffff:
            cqe = q.do(sqe(ABORT, 2, cdw10=cdw10))[0]
            assert cqe.status == 0 and cqe.dw0 == 1


@tap.test
def discovery_door(s):
    """the discovery door serves discovery and nothing else"""
    with Queue(s.discovery) as q:
        refused(q.connect(subnqn()), CONNECT_PARAM)
        assert q.connect(DISCOVERY).status == 0
        q.enable()
        with Queue(s.discovery) as io:
            refused(io.connect(DISCOVERY, qid=1, cntlid=q.cntlid), CONNECT_PARAM)
        for cns in 0, 2, 3, 6, 0x1c:
            refused(q.identify(cns)[0], INVALID_FIELD)
        refused(q.get_log(2, 512)[0], 0x109)
        kept = q.do(sqe(GET_FEATURES, 1, cdw10=0xf))[0]
        assert kept.status == 0 and kept.dw0 == 120000, 'it asked for none, and would stay for ever'
        q.cmd(sqe(WRITE, 1, 1))
        refused(q.answer()[0], INVALID_OPCODE)


# ---- those who vanish ----

def vanish_after(raw):
    """Leaves with unread data and a reset instead of a farewell."""
    def f(q):
        q.send(raw)
        q.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        q.close()
    return f


@tap.test
def half_pdus(s):
    """hosts that vanish anywhere in a PDU leave nothing behind"""
    whole = Queue.icreq()
    for n in 0, 1, 7, 8, 9, 127:
        with Queue(s.port, ic=False) as q:
            vanish_after(whole[:n])(q)
    for n in 1, 8, 71, 72, 100, 1095:
        with Queue(s.port) as q:
            vanish_after(q.pdu(CMD, q.connect_sqe(), q.connect_data(subnqn()))[:n])(q)
    for n in 8, 72, 73, 72 + BLOCK, 72 + 3 * BLOCK - 1:
        c, q = fresh(s)
        with c:
            vanish_after(q.pdu(CMD, sqe(WRITE, 1, q.nsid, cdw12=2, sgl_=sgl(
                'capsule', 3 * BLOCK)), bytes(3 * BLOCK))[:n])(q)


@tap.test
def vanish_in_h2c(s):
    """hosts that vanish in the middle of H2CData leave their blocks trimmable"""
    for n in 8, 24, 25, 24 + BLOCK, 24 + 4 * BLOCK - 1:
        c, q = fresh(s)
        with c:
            cid, ttag = awaiting(q, 4)
            vanish_after(q.pdu(H2C_DATA, struct.pack('<HHII4x', cid, ttag, 0, 4 * BLOCK),
                               bytes(4 * BLOCK), flags=LAST)[:n])(q)
    c, q = fresh(s)
    with c:
        assert q.dsm([(0, 4)]).status == 0
        assert q.read(0, 4)[1] == bytes(4 * BLOCK)


@tap.test
def vanish_with_answers_due(s):
    """a host that asks for megabytes and never reads them is the only one to wait"""
    c, q = fresh(s)
    with c:
        for i in range(100):
            q.cmd(sqe(READ, i, q.nsid, sgl_=sgl('transport', MDTS), cdw12=MDTS // BLOCK - 1))
        bystander_lives(s)
        q.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))


@tap.test
def admin_queue_vanishes(s):
    """when the admin queue goes, its I/O queues go too, and its number is forgotten"""
    c, q = fresh(s)
    with c:
        cntlid = c.admin.cntlid
        c.admin.close()
        assert q.ended()
        with Queue(s.port) as late:
            refused(late.connect(qid=1, cntlid=cntlid), CONNECT_PARAM)


@tap.test
def keep_alive_expires(s):
    """a host that falls silent loses its controller; one that reads keeps it"""
    with Controller(s.port, 1, kato=1000) as silent, Controller(s.port, 1,
                                                                kato=1000) as busy:
        silent.io[0].s.settimeout(0.5)
        while True:
            assert busy.io[0].read(0, 1)[0].status == 0
            try:
                assert not silent.io[0].s.recv(1)
                break
            except TimeoutError:
                pass
        assert silent.admin.ended()
        assert busy.io[0].read(0, 1)[0].status == 0


@tap.test
def no_keep_alive(s):
    """a keep-alive time-out of zero is none, and Set Features changes it"""
    with Controller(s.port, 0) as c:
        q = c.admin
        assert q.do(sqe(SET_FEATURES, 1, cdw10=0xf, cdw11=1000))[0].status == 0
        assert q.do(sqe(GET_FEATURES, 2, cdw10=0xf))[0].dw0 == 1000
        assert q.do(sqe(KEEP_ALIVE, 3))[0].status == 0
        assert q.ended()


@tap.test
def giant_trim(s):
    """a trim of everything, 256 times over, holds nobody else up"""
    c, q = fresh(s)
    with c:
        q.cmd(sqe(DSM, 1, q.nsid, sgl_=sgl('capsule', 4096), cdw10=255, cdw11=4),
              struct.pack('<IIQ', 0, BLOCKS - 4, 0) * 256)
        q.cmd(sqe(FLUSH, 2, q.nsid))
        bystander_lives(s)
        first, second = q.answer()[0], q.answer()[0]
        assert (first.cid, first.status) == (1, 0) and (second.cid,
                                                        second.status) == (2, 0)


@tap.test
def many_connections(s):
    """a thousand connections, some idle, some with queues, are no more than that"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    idle = [socket.create_connection(('127.0.0.1', s.port)) for _ in range(700)]
    controllers = [Controller(s.port, 2) for _ in range(100)]
    for i, c in enumerate(controllers):
        assert c.io[i % 2].write(i, bytes([i]) * BLOCK)[0].status == 0
    bystander_lives(s)
    for i, c in enumerate(controllers):
        assert c.io[(i + 1) % 2].read(i, 1)[1] == bytes([i]) * BLOCK
    for c in idle + controllers:
        c.close()


@tap.test
def unknown_host(s):
    """a host NQN that is not on the list may neither connect nor discover"""
    with Server('--allow=' + HOSTNQN) as own:
        for port, sub in (own.port, subnqn()), (own.port, DISCOVERY), (
                own.discovery, DISCOVERY):
            with Queue(port) as q:
                refused(q.connect(sub, host='nqn.2014-08.org:stranger'), CONNECT_HOST)
                assert q.connect(sub).status == 0


@tap.test
def log_lines(s):
    """what hosts provoke is logged with their address, as a warning, and not too often"""
    text = s.said()
    assert 'nvme 127.0.0.1:' in text and 'protocol error' in text
    assert 'lines like it held back' in text
    assert len(text.splitlines()) < 2000
    assert ' error: ' not in text


@tap.test
def clean_end(s):
    """after all that, memserver ends as cleanly as ever, connections and all"""
    c = Controller(s.port, 3)
    awaiting(c.io[0], 4)
    c.admin.cmd(sqe(AER, 1))
    s.stop()
    assert c.admin.ended() and c.io[0].ended()
    s.witness = None


def main():
    with Server('--max-conns=2000') as s:
        s.witness = Controller(s.port, 1)
        assert s.witness.io[0].write(BLOCKS - 4, WITNESS)[0].status == 0
        tap.run(s, after=bystander_lives)


main()
