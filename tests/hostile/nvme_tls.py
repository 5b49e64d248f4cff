#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
# flavours: asan tsan
"""NVMe/TCP over TLS 1.3 with shared keys: who gets in, and what everybody else gets.

After every test a host that was there before the first one still reads what it wrote, and
another can connect.
"""
import os
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from libnvme import *  # noqa: E402,F403
from libnvmetls import *  # noqa: E402,F403
from libdhchap import ATR, AuthController, Login, secret  # noqa: E402

tap = Tap()
CONNECT_HOST, AUTH_REQUIRED = 0x184, 0x191
KEY, LONG, BOBS = os.urandom(32), os.urandom(48), os.urandom(32)
BOB = 'nqn.2014-08.org.nvmexpress:bob'
WITNESS = os.urandom(BLOCK)
USUAL = (f'host {HOSTNQN} key={key_text(KEY)}', f'host {HOSTNQN} key={key_text(LONG)}',
         f'host {BOB} key={key_text(BOBS)} exports=bobs,more')


class TlsServer(HostsServer):
    def __init__(self, *flags, usual=USUAL, **more):
        super().__init__('--nvme-tls-keys', usual, *flags, export=('64M', 'bobs=64M', 'safe=64M,tls=required'), **more)


def psk(key=KEY, sub=None, host=HOSTNQN, **more):
    return tls_psk(key, host, sub or subnqn(), **more)


def controller(s, key=KEY, sub=None, **more):
    return Controller(s.port, sub=sub, queue_type=TlsQueue, psk=psk(key, sub, **more))


def refused(s, with_):
    """No handshake with that (identity, key)."""
    try:
        TlsQueue(s.port, with_).close()
    except Refused:
        return
    raise AssertionError('it got in')


def bystander_lives(s):
    if s.witness is None:
        return
    assert s.alive(), 'memserver has died:\n' + s.said()
    cqe, data = s.witness.io[0].read(5, 1)
    assert cqe.status == 0 and data == WITNESS
    with controller(s) as c:
        assert c.io[0].read(5, 1)[1] == WITNESS


# ---- who gets in ----

def combination(key, version, hash_, legacy):
    def f(s):
        name = HASHES[len(key)][3]
        if hash_ == 0:
            hosts(s, f'host {HOSTNQN} key={key_text(key, 0)}')
            reload(s, 'memctl reload')
        try:
            with controller(s, key, version=version, hash_=hash_, legacy=legacy) as c:
                assert c.admin.s.cipher() == name, c.admin.s.cipher()
                assert c.io[0].read(5, 1)[1] == WITNESS
        finally:
            if hash_ == 0:
                hosts(s, *USUAL)
                reload(s, 'memctl reload')
    f.__doc__ = (f'a host gets in by an identity of version {version} and a key of {len(key)} bytes, '
                 + ('used as it is' if hash_ == 0 else 'retained') + (', as libnvme 1.13 derives it' if legacy else ''))
    return f


for legacy_ in False, True:
    for key_ in KEY, LONG:
        for version_ in 0, 1:
            for hash__ in None, 0:
                tap.test(combination(key_, version_, hash__, legacy_))


@tap.test
def much(s):
    """what is written over TLS is read, as much as a command moves at a time"""
    data = os.urandom(128 << 10)
    with controller(s) as c:
        for i in range(64):
            assert c.io[0].write(1024 + 32 * i, data)[0].status == 0
        for i in range(64):
            assert c.io[0].read(1024 + 32 * i, 32)[1] == data


@tap.test
def second_hello(s):
    """a host that is asked for another group (HelloRetryRequest) gets in"""
    with TlsQueue(s.port, psk(), tls={'groups': b'X448:P-521'}) as q:
        assert q.connect().status == 0


@tap.test
def shown(s):
    """memctl who shows that it is encrypted; neither it, nor config, nor the log has a key"""
    with controller(s):
        who = s.ctl('who', '--json').stdout
        assert '"tls":"TLSv1.3 TLS_AES_128_GCM_SHA256"' in who, who
        table = s.ctl('who').stdout
        assert 'TLSv1.3' in table, table
        config = s.ctl('show', 'config').stdout
        assert s.hosts in config and 'nvme-tls' in config and 'required' in config, config
        for text in who, table, config, s.said():
            assert 'NVMeTLSkey' not in text


@tap.test
def discovery(s):
    """discovery over TLS tells what the host has a key for, and that TLS 1.3 is required"""
    with TlsQueue(s.discovery, psk(sub=DISCOVERY)) as q:
        assert q.connect(DISCOVERY).status == 0
        q.enable()
        records = {r[256:512].rstrip(b'\0').decode(): r for r in records_of(q)}
        assert set(records) == {subnqn('default'), subnqn('bobs'), subnqn('safe')}, records.keys()
        for r in records.values():
            assert r[3] & 3 == 1 and r[768] == 2, (r[3], r[768])
    with TlsQueue(s.discovery, psk(BOBS, DISCOVERY, BOB)) as q:
        assert q.connect(DISCOVERY, host=BOB).status == 0
        q.enable()
        assert [r[256:512].rstrip(b'\0').decode() for r in records_of(q)] == [subnqn('bobs')]


def records_of(q):
    cqe, log = q.get_log(0x70, 1024 * 8)
    assert cqe.status == 0
    n = struct.unpack_from('<Q', log, 8)[0]
    return [log[1024 * (i + 1):1024 * (i + 2)] for i in range(n)]


@tap.test
def safe(s):
    """an export that asks for TLS is served"""
    with controller(s, sub=subnqn('safe')) as c:
        assert c.io[0].read(0, 1)[0].status == 0


# ---- who does not ----

@tap.test
def plain(s):
    """a host that begins in the clear is let go without an answer, told of and counted"""
    before = s.metric('nvme_tls_plain_refused_total')
    for port in s.port, s.discovery:
        try:
            Queue(port).close()
        except Ended:
            continue
        raise AssertionError('it got in')
    assert s.metric('nvme_tls_plain_refused_total') == before + 2
    assert 'begins in the clear' in s.said() and 'nvme connect --tls' in s.said()


@tap.test
def wrong_key(s):
    """a key that is not the one of its identity is refused, as an identity that is not known is"""
    with TlsServer() as s:
        for version in 0, 1:
            identity, key = psk(version=version)
            refused(s, (identity, os.urandom(32)))
            refused(s, psk(os.urandom(32), version=version))
            refused(s, psk(os.urandom(48), version=version))
        until(lambda: s.metric('tls_handshakes_total{result="failed"}') == 6)
        assert s.metric('tls_handshakes_total{result="good"}') == 0
        assert 'it has another key: compare the two' in s.said() and 'it is not in the file' in s.said()


@tap.test
def strangers(s):
    """nobody gets in with a host's key under another name, for another's export, or as a generated key"""
    refused(s, psk(host=BOB))
    refused(s, psk(BOBS, host=BOB))
    refused(s, psk(BOBS, subnqn('bobs,more'), BOB))
    refused(s, psk(BOBS, 'nqn.2014-08.org.nvmexpress:bobs', BOB))
    refused(s, psk(kind='G'))
    refused(s, psk(host='nqn.2014-08.org.nvmexpress:mallory'))
    with TlsQueue(s.port, psk(BOBS, subnqn('bobs'), BOB)) as q:
        assert q.connect(subnqn('bobs'), host=BOB).status == 0


@tap.test
def nonsense(s):
    """identities that are none are refused, however long and of whatever bytes"""
    good = psk()[0].encode()
    for identity in (b'', b'x', b'NVMe', good[:-1], good + b'=', good.replace(b' ', b'  ', 1), good[:9], b'\xff' * 128,
                     b'%s%s%n', good.replace(b'R01', b'R02'), good.replace(b'R01', b'R00'), b'A' * 255, b'\n' * 40):
        if identity:
            refused(s, (identity, os.urandom(32)))
    assert '\n\n' not in s.said()


@tap.test
def other_names(s):
    """with the key of one identity no other host or export can be asked for at Connect"""
    before = s.metric('nvme_tls_identity_refused_total')
    for sub, host in (subnqn(), BOB), (subnqn('bobs'), HOSTNQN), (DISCOVERY, HOSTNQN), (subnqn('nothing'), HOSTNQN):
        with TlsQueue(s.port, psk()) as q:
            cqe = q.connect(sub, host=host)
            assert cqe.sc == CONNECT_HOST and cqe.dnr, hex(cqe.status)
    with TlsQueue(s.port, psk(sub=DISCOVERY)) as q:
        assert q.connect().sc == CONNECT_HOST
    with controller(s) as c, TlsQueue(s.port, psk(sub=subnqn('bobs'))) as q:
        assert q.connect(qid=2, cntlid=c.admin.cntlid).sc == CONNECT_HOST
    assert s.metric('nvme_tls_identity_refused_total') == before + 6
    assert "with another's key" in s.said()


@tap.test
def older(s):
    """TLS 1.2 is refused"""
    try:
        TlsQueue(s.port, psk(), tls={'tls12': True})
    except Refused:
        return
    raise AssertionError('it got in')


# ---- bytes ----

def hello(with_):
    """The bytes of a ClientHello."""
    a, b = socket.socketpair()
    a.settimeout(60)
    got = []

    def end():
        got.append(b.recv(65536))
        b.close()
    t = threading.Thread(target=end)
    t.start()
    try:
        TlsSocket(a, with_)
    except Refused:
        pass
    t.join()
    return got[0]


def raw(s, *pieces):
    """Sends pieces, then reads to the end of the connection."""
    q = socket.create_connection(('127.0.0.1', s.port), timeout=120)
    try:
        for p in pieces:
            q.sendall(p)
        q.shutdown(socket.SHUT_WR)
        while q.recv(65536):
            pass
    except OSError:
        pass  # ended by the server ahead of us
    q.close()


@tap.test
def cut(s):
    """a handshake cut off anywhere ends that connection only"""
    h = hello(psk())
    for n in (1, 2, 5, 6, 9, 43, len(h) // 2, len(h) - 33, len(h) - 1):
        raw(s, h[:n])


@tap.test
def dripping(s):
    """a ClientHello that comes in single bytes is one"""
    class Drip(TlsQueue):
        def dial(self, port, timeout):
            a, b = socket.socketpair()
            a.settimeout(timeout)
            c = socket.create_connection(('127.0.0.1', port), timeout=timeout)
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def pump(x, y, piece):
                try:
                    while data := x.recv(piece):
                        y.sendall(data)
                except OSError:
                    pass
                y.close()
            threading.Thread(target=pump, args=(b, c, 1), daemon=True).start()
            threading.Thread(target=pump, args=(c, b, 65536), daemon=True).start()
            return TlsSocket(a, self.psk)
    with Drip(s.port, psk()) as q:
        assert q.connect().status == 0


@tap.test
def changed(s):
    """a ClientHello with any of its bytes changed gets nobody in"""
    h = hello(psk())
    for at in range(0, len(h), 7):
        raw(s, h[:at] + bytes([h[at] ^ 0x5a]) + h[at + 1:])


@tap.test
def replayed(s):
    """a ClientHello that was overheard gets nobody in"""
    raw(s, hello(psk()), os.urandom(100))


@tap.test
def large(s):
    """records and messages beyond all measure end that connection only"""
    raw(s, b'\x16\x03\x01\xff\xff' + os.urandom(70000))
    raw(s, b'\x16\x03\x01\x40\x00\x01\xff\xff\xff' + bytes(16380))
    raw(s, *[b'\x16\x03\x01\x40\x00\x01\x01\xff\xff' + bytes(16380)] + [b'\x16\x03\x01\x40\x00' + bytes(16384)] * 8)
    raw(s, b'\x16' * 300000)
    raw(s, b'\x16\x03\x03\x00\x00' * 1000)


@tap.test
def other_first(s):
    """only the first byte of a ClientHello begins TLS"""
    before = s.metric('nvme_tls_plain_refused_total')
    for first in (0, 1, 0x15, 0x17, 0x80, 0xff):
        raw(s, bytes([first]) + os.urandom(200))
    assert s.metric('nvme_tls_plain_refused_total') == before + 6


@tap.test
def twice(s):
    """within TLS there is no second handshake"""
    with TlsQueue(s.port, psk(), ic=False) as q:
        q.send(hello(psk()))
        assert q.recv().type == C2H_TERM


@tap.test
def spoiled(s):
    """a record that was changed on its way ends that connection only"""
    with TlsQueue(s.port, psk()) as q:
        q.s.s.sendall(b'\x17\x03\x03\x00\x20' + os.urandom(32))
        assert q.ended()


# ---- both ways ----

@tap.test
def offered(s):
    """with --nvme-tls offered both ways get in, and in the clear no export that asks for TLS"""
    with TlsServer('--nvme-tls=offered') as s:
        with controller(s) as c:
            assert c.io[0].write(5, WITNESS)[0].status == 0
        with Controller(s.port) as c:
            assert c.io[0].read(5, 1)[1] == WITNESS
        with Queue(s.port) as q:
            assert q.connect(subnqn('safe')).sc == CONNECT_HOST
        with controller(s, sub=subnqn('safe')) as c:
            assert c.io[0].read(0, 1)[0].status == 0
        with Queue(s.discovery) as q:
            assert q.connect(DISCOVERY).status == 0
            q.enable()
            treq = {r[256:512].rstrip(b'\0').decode(): (r[3] & 3, r[768]) for r in records_of(q)}
            assert treq == {subnqn(): (0, 2), subnqn('bobs'): (0, 2), subnqn('safe'): (1, 2)}, treq
        with TlsQueue(s.discovery, psk(sub=DISCOVERY)) as q:
            assert q.connect(DISCOVERY).status == 0
            q.enable()
            assert {(r[3] & 3, r[768]) for r in records_of(q)} == {(2, 2), (1, 2)}


@tap.test
def mixed(s):
    """a queue in the clear can't join a controller that came over TLS"""
    with TlsServer('--nvme-tls=offered') as s:
        for name in 'safe', 'default':
            with controller(s, sub=subnqn(name)) as c, Queue(s.port) as q:
                assert q.connect(subnqn(name), qid=2, cntlid=c.admin.cntlid).sc == CONNECT_HOST
                assert c.add(2).read(0, 1)[0].status == 0


@tap.test
def off(s):
    """without keys a ClientHello is no ICReq, and discovery says that there is no TLS"""
    with Server() as s:
        refused(s, psk())
        with Queue(s.discovery) as q:
            assert q.connect(DISCOVERY).status == 0
            q.enable()
            assert [(r[3] & 3, r[768]) for r in records_of(q)] == [(0, 0)]


@tap.test
def both(s):
    """a host that must prove itself (--nvme-auth) does so within TLS, and not without"""
    path = f'/dev/shm/nvme-auth.{os.getpid()}'
    with open(path, 'w', opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write(f'host {HOSTNQN} key={secret(KEY, 1)}\n')
    try:
        with TlsServer('--nvme-auth', path) as s, TlsQueue(s.port, psk()) as q:
            cqe = q.connect()
            assert cqe.status == 0 and cqe.dw0 & ATR
            assert q.prop_get(0x1c).sc == AUTH_REQUIRED
            Login(q, KEY, 1, groups=(0,)).run()
            q.enable()
    finally:
        os.unlink(path)


# ---- keys that change ----

def rotation(how):
    def f(s):
        new = os.urandom(32)
        with controller(s, version=0) as c:
            hosts(s, *USUAL, f'host {HOSTNQN} key={key_text(new)} exports=default')
            reload(s, how)
            for key in KEY, new:
                for version in 0, 1:
                    controller(s, key, version=version).close()
            hosts(s, *USUAL[1:], f'host {HOSTNQN} key={key_text(new)}')
            reload(s, how)
            for version in 0, 1:
                refused(s, psk(version=version))
            assert c.io[0].read(5, 1)[1] == WITNESS
            controller(s, new).close()
        hosts(s, *USUAL)
        reload(s, how)
    f.__doc__ = f'{how} exchanges a key with a time in which both are good; nobody is dropped'
    return f


for how_ in 'SIGHUP', 'memctl reload':
    tap.test(rotation(how_))


@tap.test
def bad_file(s):
    """a file with a mistake, or that others can read, changes nothing"""
    for text, mode, why in (('host nonsense', 0o600, ':1: after'), ('\n'.join(USUAL), 0o644, 'chmod 600'),
                            ('', 0o600, 'names no host'), (USUAL[0][:-4] + ':', 0o600, ':1: ')):
        with open(s.hosts, 'w') as f:
            f.write(text)
        os.chmod(s.hosts, mode)
        said = len(s.said())
        assert s.ctl('reload').returncode == 1
        assert why in s.said()[said:] and 'kept as it was' in s.said()[said:], s.said()[said:]
        controller(s).close()
    hosts(s, *USUAL)
    reload(s, 'SIGHUP')
    assert 'NVMeTLSkey' not in s.said().replace('NVMeTLSkey-1:HH', '')


@tap.test
def bad_start(s):
    """memserver does not start with such a file, or without one, and says what to do"""
    path = s.hosts + '.bad'
    for mode, flags, status, why in ((0o640, ('--nvme-tls-keys', path), 1, 'chmod 600'),
                                     (None, ('--nvme-tls-keys', path), 1, 'No such file'),
                                     (None, ('--nvme-tls=required',), 2, '--nvme-tls-keys FILE')):
        if mode:
            with open(path, 'w', opener=lambda p, f: os.open(p, f, 0o600)) as f:
                f.write('\n'.join(USUAL))
            os.chmod(path, mode)
        done = subprocess.run([*s.cmd[:1], '--export=1M', '--nvme=127.0.0.1:0', '--nbd=off', '--metrics=off',
                               '--discovery=off', f'--control={s.dir}/c2', f'--pool={s.dir}/pool2', *flags],
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == status and why in done.stderr, (done.returncode, done.stderr)
        assert 'NVMeTLSkey' not in done.stderr
        if mode:
            os.unlink(path)


# ---- thousands ----

@tap.test
def thousands(s):
    """while thousands of handshakes fail others do their I/O and connect, and the log stays short"""
    stop, did, errors = threading.Event(), [0], []
    spoiled_ = psk()[0], os.urandom(32)
    h = hello(spoiled_)

    def flood():
        try:
            while not stop.is_set():
                if did[0] % 4:
                    raw(s, h)
                else:
                    refused(s, spoiled_)
                did[0] += 1
        except Exception as e:
            errors.append(e)

    before, lines = s.metric('tls_handshakes_total{result="failed"}'), len(s.said().splitlines())
    threads = [threading.Thread(target=flood) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        came = 0
        end = time.monotonic() + 240
        while (did[0] < 3000 or came < 10) and time.monotonic() < end and not errors:
            assert s.witness.io[0].read(5, 1)[1] == WITNESS
            with controller(s) as c:
                assert c.io[0].read(5, 1)[1] == WITNESS
            came += 1
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not errors, errors[0]
    assert did[0] >= 3000 and came >= 10, (did[0], came)
    until(lambda: s.metric('tls_handshakes_total{result="failed"}') >= before + did[0])
    assert len(s.said().splitlines()) - lines < did[0] / 10 + came * 3
    until(lambda: s.metric('tls_handshakes') == 0)


with TlsServer() as server:
    server.witness = None
    first = controller(server)
    assert first.io[0].write(5, WITNESS)[0].status == 0
    server.witness = first
    try:
        tap.run(server, after=bystander_lives)
    finally:
        first.close()
