# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's side of DH-HMAC-CHAP for tests, from the specification (NVMe Base 2.0, 8.13.5)
and RFC 7919, by hashlib and Python's integers: nothing of it is OpenSSL's arithmetic.

Login is one transaction on a Queue of libnvme; its steps can be done wrong one by one.
"""
import base64
import functools
import hashlib
import hmac
import os
import struct
import sys
import zlib

from libnvme import HOSTNQN, Queue, sgl, subnqn

COMMON, DHCHAP = 0, 1
NEGOTIATE, CHALLENGE, REPLY, SUCCESS1, SUCCESS2, FAILURE2, FAILURE1 = 0, 1, 2, 3, 4, 0xf0, 0xf1
FAILED, NOT_USABLE, CONCAT, HASH, GROUP, PAYLOAD, MESSAGE = 1, 2, 3, 4, 5, 6, 7
SHA256, SHA384, SHA512 = 1, 2, 3
HASHES = {SHA256: hashlib.sha256, SHA384: hashlib.sha384, SHA512: hashlib.sha512}
BITS = {1: 2048, 2: 3072, 3: 4096, 4: 6144, 5: 8192}
NAMES = {0: 'null', **{i: f'ffdhe{bits}' for i, bits in BITS.items()}}
ATR, ASCR = 1 << 17, 1 << 18
NOSC, NEW, REPLACE = 0, 2, 3  # SC_C


@functools.cache
def prime(group):
    """RFC 7919, appendix A: 2^b - 2^(b-64) + (floor(2^(b-130) e) + X) 2^64 - 1."""
    bits = BITS[group]
    x = {1: 560316, 2: 2625351, 3: 5736041, 4: 15705020, 5: 10965728}[group]
    extra = 64
    term = total = 1 << bits + extra  # e, scaled: the sum of 1/n!
    n = 1
    while term:
        term //= n
        total += term
        n += 1
    e = total >> bits + extra - (bits - 130)
    return (1 << bits) - (1 << bits - 64) + (e + x << 64) - 1


def secret(key, hash_=0):
    """As nvme-cli writes it."""
    return 'DHHC-1:%02x:%s:' % (hash_, base64.b64encode(
        key + struct.pack('<I', zlib.crc32(key))).decode())


def transformed(key, hash_, nqn):
    if not hash_:
        return key
    return hmac.new(key, nqn.encode() + b'NVMe-over-Fabrics', HASHES[hash_]).digest()


def response(key, key_hash, hash_, challenge, seqnum, t_id, role, prover, peer, sc_c=NOSC):
    text = (challenge + struct.pack('<IHB', seqnum, t_id, sc_c) + role + prover.encode() + b'\0' +
            peer.encode())
    return hmac.new(transformed(key, key_hash, prover), text, HASHES[hash_]).digest()


def augmented(hash_, shared, challenge):
    return hmac.new(HASHES[hash_](shared).digest(), challenge, HASHES[hash_]).digest()


class Failure1(Exception):
    def __init__(self, t_id, rescode, explanation):
        super().__init__(f'AUTH_Failure1: {rescode}, {explanation}')
        self.t_id, self.rescode, self.explanation = t_id, rescode, explanation


class Login:
    def __init__(self, q, key, key_hash=0, ctrl_key=None, ctrl_hash=0, sub=None, host=HOSTNQN,
                 hashes=(1, 2, 3), groups=(0, 1, 2, 3, 4, 5), t_id=7, sc_c=NOSC):
        self.q, self.key, self.key_hash = q, key, key_hash
        self.ctrl_key, self.ctrl_hash = ctrl_key, ctrl_hash
        self.sub, self.host = sub or subnqn(), host
        self.hashes, self.groups, self.t_id = hashes, groups, t_id
        self.s2, self.c2, self.shared, self.sc_c = 0, None, None, sc_c

    # ---- commands ----

    def send_raw(self, data, secp=0xe9, spsp0=1, spsp1=1, tl=None, kind='capsule', length=None):
        """Authentication Send; its completion."""
        tl = len(data) if tl is None else tl
        return self.q.do(struct.pack(
            '<BBHB19x16sBBBBI16x', 0x7f, 0x40, self.q.next_cid(), 5,
            sgl(kind, len(data) if length is None else length), 0, spsp0, spsp1, secp, tl), data)[0]

    def receive_cmd(self, al=4096, secp=0xe9, spsp0=1, spsp1=1, kind='transport', length=None):
        self.q.cmd(struct.pack('<BBHB19x16sBBBBI16x', 0x7f, 0x40, self.q.next_cid(), 6,
                               sgl(kind, al if length is None else length), 0, spsp0, spsp1, secp, al))

    def receive_raw(self, *args, **more):
        self.receive_cmd(*args, **more)
        return self.q.answer()

    def send(self, data):
        cqe = self.send_raw(data)
        assert cqe.status == 0, f'Send: {cqe.status:#x}'

    def receive(self, expected):
        """The message, or Failure1."""
        cqe, data = self.receive_raw()
        assert cqe.status == 0, f'Receive: {cqe.status:#x}'
        type_, id_, t_id = struct.unpack_from('<BB2xH', data)
        if (type_, id_) == (COMMON, FAILURE1):
            assert data[8:] == bytes(len(data) - 8)
            raise Failure1(t_id, data[6], data[7])
        assert (type_, id_, t_id) == (DHCHAP, expected, self.t_id), (type_, id_, t_id)
        return data

    # ---- messages ----

    def header(self, type_, id_, t_id=None):
        return struct.pack('<BB2xH', type_, id_, self.t_id if t_id is None else t_id)

    def descriptor(self, authid=1, halen=None, dhlen=None):
        return struct.pack('<BxBB30s30s', authid, len(self.hashes) if halen is None else halen,
                           len(self.groups) if dhlen is None else dhlen, bytes(self.hashes),
                           bytes(self.groups))

    def negotiate_msg(self, sc_c=None, napd=1, descriptors=None, **more):
        return self.header(COMMON, NEGOTIATE) + bytes([self.sc_c if sc_c is None else sc_c, napd]) + (
            self.descriptor(**more) if descriptors is None else descriptors)

    def take_challenge(self, data):
        hl, self.hash, self.group, dhvlen, self.s1 = struct.unpack_from('<BxBBHI', data, 6)
        assert hl == HASHES[self.hash]().digest_size and self.s1
        assert dhvlen == (BITS[self.group] // 8 if self.group else 0)
        self.c1, self.y = data[16:16 + hl], data[16 + hl:16 + hl + dhvlen]
        assert data[16 + hl + dhvlen:] == bytes(len(data) - 16 - hl - dhvlen)
        self.value = b''
        if self.group:
            p, n = prime(self.group), BITS[self.group] // 8
            x = int.from_bytes(os.urandom(32), 'big')
            self.value = pow(2, x, p).to_bytes(n, 'big')
            self.shared = pow(int.from_bytes(self.y, 'big'), x, p).to_bytes(n, 'big')
        if self.ctrl_key is not None:
            self.s2, self.c2 = struct.unpack('<I', os.urandom(4))[0] or 1, os.urandom(hl)
        elif self.sc_c:  # for the key, not to be answered
            self.s2, self.c2 = 0, os.urandom(hl)

    def augment(self, challenge):
        return augmented(self.hash, self.shared, challenge) if self.group else challenge

    def reply_msg(self, hl=None, cvalid=None, dhvlen=None, s2=None, c2=None, value=None,
                  resp=None, t_id=None):
        n = len(self.c1)
        own = response(self.key, self.key_hash, self.hash, self.augment(self.c1), self.s1,
                       self.t_id, b'HostHost', self.host, self.sub, self.sc_c)
        value = self.value if value is None else value
        return (self.header(DHCHAP, REPLY, t_id) + struct.pack(
            '<BxBxHI', n if hl is None else hl, (self.c2 is not None) if cvalid is None else cvalid,
            len(value) if dhvlen is None else dhvlen, self.s2 if s2 is None else s2) +
            (own if resp is None else resp) + ((self.c2 or bytes(n)) if c2 is None else c2) + value)

    def check_success1(self, data):
        hl, rvalid = data[6], data[8]
        assert hl == len(self.c1) and rvalid == (self.s2 != 0)
        if self.s2:
            want = response(self.ctrl_key, self.ctrl_hash, self.hash, self.augment(self.c2), self.s2,
                            self.t_id, b'Controller', self.sub, self.host, self.sc_c)
            assert data[16:16 + hl] == want, 'the controller has another key'

    # ---- steps ----

    def to_challenge(self):
        self.send(self.negotiate_msg())
        self.take_challenge(self.receive(CHALLENGE))
        return self

    def to_success1(self):
        self.to_challenge()
        self.send(self.reply_msg())
        self.check_success1(self.receive(SUCCESS1))
        return self

    def generated(self):
        """The key that this login has generated (Base 2.1, 8.3.4.5.9)."""
        name = HASHES[self.hash]
        return hmac.new(name(self.shared).digest(), self.c1 + self.c2, name).digest()

    def success2_msg(self):
        return self.header(DHCHAP, SUCCESS2) + bytes(10)

    def failure2_msg(self, explanation=FAILED):
        return self.header(COMMON, FAILURE2) + bytes([1, explanation])

    def run(self):
        self.to_success1()
        if self.s2:
            self.send(self.success2_msg())
        return self


def log_in(port, key, qid=0, cntlid=0xffff, connect=None, queue=None, **more):
    """A queue in service."""
    q = Queue(port, **(queue or {}))
    cqe = q.connect(more.get('sub'), qid, cntlid, host=more.get('host', HOSTNQN), **(connect or {}))
    assert cqe.status == 0, f'connect: {cqe.status:#x}'
    assert cqe.dw0 & ~0xffff == ATR, f'{cqe.dw0:#x}'
    q.login = Login(q, key, **more).run()
    return q


class AuthController:
    """As libnvme's Controller, on queues that have logged in."""

    def __init__(self, port, key, n=1, **more):
        self.admin = log_in(port, key, **more)
        self.admin.enable()
        cqe, ids = self.admin.identify(2)
        assert cqe.status == 0
        self.nsid = struct.unpack_from('<I', ids)[0]
        self.io = []
        for qid in range(1, n + 1):
            q = log_in(port, key, qid, self.admin.cntlid, **more)
            q.nsid = self.nsid
            self.io.append(q)

    def close(self):
        for q in self.io + [self.admin]:
            q.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def vectors():
    """C tables for tests/unit/lib/dhchap.c: `python3 libdhchap.py` prints them."""
    key = bytes(range(64))

    def c(data):
        return '"' + ''.join(f'\\x{b:02x}' for b in data) + '"'
    for hash_ in HASHES:
        n = HASHES[hash_]().digest_size
        challenge = bytes(range(100, 100 + n))
        for key_hash, size in (0, 32), (1, 32), (2, 48), (3, 64):
            print(f'{{ {hash_}, {key_hash}, {size}, ' + c(response(
                key[:size], key_hash, hash_, challenge, 0x01020304, 0x0506, b'HostHost',
                'nqn.2014-08.org.example:host', 'nqn.2026-11.io.remem:default')) + ' },')
        print(f'augmented {hash_}:', c(augmented(hash_, bytes(range(200)) * 2, challenge)))


if __name__ == '__main__':
    sys.exit(vectors())
