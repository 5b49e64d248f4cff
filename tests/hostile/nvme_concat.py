#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
# flavours: asan tsan
"""NVMe/TCP's secure channel concatenation: logins that generate a key, and who may use it.

After every test a host that came by such a key before the first one still reads what it wrote,
and another comes by its own. Keys are derived anew, by hashlib (libdhchap, libnvmetls).
"""
import os
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from libnvme import *  # noqa: E402,F403
from libnvmetls import TlsQueue, Refused, key_text, tls_psk  # noqa: E402
from libdhchap import *  # noqa: E402,F403

tap = Tap()
AUTH_REQUIRED, CONNECT_HOST, CMD_SEQ = 0x191, 0x184, 0xc
KEY, CTRL_KEY, BOBS, TLS_KEY = os.urandom(32), os.urandom(48), os.urandom(64), os.urandom(32)
BOB = 'nqn.2014-08.org.nvmexpress:bob'
WITNESS = os.urandom(BLOCK)
ALICE = f'host {HOSTNQN} key={secret(KEY, 1)} controller={secret(CTRL_KEY, 2)}'
USUAL = (ALICE, f'host {BOB} key={secret(BOBS)} exports=bobs')


class ConcatServer(HostsServer):
    def __init__(self, *flags, usual=USUAL):
        super().__init__('--nvme-auth', usual, *flags, export=('64M', 'bobs=64M', 'safe=64M,tls=required'))


def connected(s, sub=None, host=HOSTNQN, ask=ATR):
    q = Queue(s.port)
    cqe = q.connect(sub, host=host)
    assert cqe.status == 0 and cqe.dw0 & ~0xffff == ask, f'{cqe.status:#x} {cqe.dw0:#x}'
    return q


def login(s, key=KEY, key_hash=1, sc_c=NEW, groups=(1,), ask=ATR, **more):
    return Login(connected(s, more.get('sub'), more.get('host', HOSTNQN), ask), key, key_hash, sc_c=sc_c,
                 groups=groups, **more)


def identity(l, **more):
    """What the login has made: (identity, TLS key)."""
    return tls_psk(l.generated(), l.host, l.sub, hash_=0, kind='G', **more)


def generated(s, **more):
    """Logs in, and ends the connection."""
    l = login(s, **more).run()
    l.q.close()
    return identity(l)


def served(s, psk, sub=None):
    """A controller over TLS whose queues need no login."""
    c = Controller(s.port, sub=sub, queue_type=TlsQueue, psk=psk)
    return c


def refused(s, psk):
    try:
        TlsQueue(s.port, psk).close()
    except Refused:
        return
    raise AssertionError('it got in')


def fails(l, explanation):
    """The next Receive brings AUTH_Failure1, and then the connection ends."""
    try:
        l.receive(SUCCESS1)
    except Failure1 as e:
        assert (e.rescode, e.explanation) == (FAILED, explanation), str(e)
        assert l.q.ended()
        l.q.close()
        return
    raise AssertionError('it did not fail')


def bystander_lives(s):
    assert s.alive(), 'memserver has died:\n' + s.said()
    assert s.witness.io[0].read(5, 1)[1] == WITNESS
    with served(s, generated(s)) as c:
        assert c.io[0].read(5, 1)[1] == WITNESS


# ---- who gets in ----

def combination(hash_, group):
    def f(s):
        for ctrl_key in None, CTRL_KEY:
            psk = generated(s, hashes=(hash_,), groups=(group,), ctrl_key=ctrl_key, ctrl_hash=2)
            with served(s, psk) as c:
                assert c.admin.s.cipher() == (b'TLS_AES_128_GCM_SHA256', b'TLS_AES_256_GCM_SHA384')[hash_ - 1]
                assert c.io[0].read(5, 1)[1] == WITNESS
    f.__doc__ = (f'a login by {HASHES[hash_]().name} and {NAMES[group]}, one-way or with our proof, generates a key '
                 'by which all queues come')
    return f


for pair in (1, 1), (2, 1), (1, 2), (2, 3), (1, 5):
    tap.test(combination(*pair))


@tap.test
def choice(s):
    """for a key hash and group are chosen that can make one"""
    with ConcatServer('--nvme-auth-hash=sha512,sha384', '--nvme-auth-group=null,ffdhe2048') as s:
        l = login(s, groups=(0, 1, 2), hashes=(1, 2, 3)).run()
        assert (l.hash, l.group) == (2, 1)
        l.q.close()
        with served(s, identity(l)):
            pass
        l = login(s, sc_c=NOSC, groups=(0, 1, 2)).run()
        assert (l.hash, l.group) == (3, 0)
        l.q.close()


@tap.test
def several(s):
    """a host's paths have a key each; the same key sets up any number of queues"""
    keys = [generated(s) for _ in range(3)]
    for psk in keys + keys:
        with served(s, psk) as c:
            assert c.add(2).read(5, 1)[1] == WITNESS


@tap.test
def shown(s):
    """keys are counted, and in neither memctl, the configuration nor the log"""
    before = s.metric('nvme_tls_generated_keys_total')
    l = login(s).run()
    l.q.close()
    assert s.metric('nvme_tls_generated_keys_total') == before + 1
    with served(s, identity(l)):
        who, config = s.ctl('who', '--json').stdout, s.ctl('show', 'config').stdout
    assert 'TLSv1.3' in who and 'nvme-concat' in config and 'offered' in config, config
    assert 'it has a key to come back over TLS' in s.said()
    key = l.generated()
    for text in who, config, s.said():
        for secret_ in key.hex(), base64.b64encode(key).decode(), identity(l)[1].hex():
            assert secret_ not in text and secret_.upper() not in text


@tap.test
def quota(s):
    """a host's quota of memory is one, over all its exports, keys and ways to come"""
    with ConcatServer('--client-quota=8M') as s:
        data, full = os.urandom(128 << 10), 0x81

        def megabyte(c, at):
            """Of its eight writes the first status that is not 0, or 0."""
            return next(filter(None, (c.io[0].write(256 * at + 32 * i, data)[0].sc for i in range(8))), 0)

        def write(c, first, count):
            return [megabyte(c, first + i) for i in range(count)]

        with served(s, generated(s)) as a, served(s, generated(s, sub=subnqn('bobs')), subnqn('bobs')) as b:
            assert write(a, 0, 5) + write(b, 0, 3) == [0] * 8
            assert write(b, 3, 1) + write(a, 5, 1) == [full] * 2
        with served(s, generated(s)) as a:
            assert write(a, 0, 1) + write(a, 5, 1) == [0, full]
        with AuthController(s.port, KEY, key_hash=1, groups=(0,)) as a:
            assert write(a, 0, 1) + write(a, 5, 1) == [0, full]
        assert f'client {HOSTNQN} holds 8M' in s.ctl('stat').stdout, s.ctl('stat').stdout


# ---- who does not ----

@tap.test
def wrong_key(s):
    """a wrong key is refused, as are another's identity and one that was never made"""
    with ConcatServer() as s:
        wrong_key_at(s)


def wrong_key_at(s):
    psk = generated(s)
    refused(s, (psk[0], os.urandom(32)))
    refused(s, (psk[0].replace(HOSTNQN, BOB), psk[1]))
    refused(s, (psk[0].replace(subnqn(), subnqn('bobs')), psk[1]))
    refused(s, (psk[0].replace('NVMe1G', 'NVMe1R'), psk[1]))
    refused(s, (psk[0].replace('NVMe1G', 'NVMe0G').rpartition(' ')[0], psk[1]))
    refused(s, tls_psk(os.urandom(32), HOSTNQN, subnqn(), hash_=0, kind='G'))
    until(lambda: s.metric('tls_handshakes_total{result="failed"}') == 6)
    assert 'it has another key: compare the two' in s.said() and 'or has expired' in s.said()


@tap.test
def other_names(s):
    """with a generated key no other host, export or discovery can be asked for"""
    psk = generated(s)
    for sub, host in (subnqn(), BOB), (subnqn('bobs'), HOSTNQN), (subnqn('safe'), HOSTNQN), (DISCOVERY, HOSTNQN):
        with TlsQueue(s.port, psk) as q:
            assert q.connect(sub, host=host).sc == CONNECT_HOST


@tap.test
def failed_login(s):
    """a login that fails generates no key"""
    before = s.metric('nvme_tls_generated_keys_total')
    l = login(s, os.urandom(32)).to_challenge()
    l.send(l.reply_msg())
    fails(l, FAILED)
    refused(s, identity(l))
    l = login(s, ctrl_key=CTRL_KEY, ctrl_hash=2).to_success1()
    l.send(l.failure2_msg())
    assert l.q.ended()
    refused(s, identity(l))
    assert s.metric('nvme_tls_generated_keys_total') == before


def bad_negotiate(sentence, explanation, make, **more):
    def f(s):
        l = login(s, **more)
        l.send(make(l))
        fails(l, explanation)
    f.__doc__ = 'AUTH_Negotiate ' + sentence + f' gets explanation {explanation}'
    tap.test(f)


for sc_c_ in 1, REPLACE, 4, 255:
    bad_negotiate(f'with SC_C {sc_c_} in the clear', CONCAT, lambda l, n=sc_c_: l.negotiate_msg(sc_c=n))
bad_negotiate('for a key without a DH group', CONCAT, lambda l: l.negotiate_msg(), groups=(0,))
bad_negotiate('for a key with unknown groups', GROUP, lambda l: l.negotiate_msg(), groups=(6, 7))
bad_negotiate('for a key with SHA-512 alone', HASH, lambda l: l.negotiate_msg(), hashes=(3,))


def bad_reply(sentence, explanation, make, **more):
    def f(s):
        l = login(s, **more).to_challenge()
        l.send(make(l))
        fails(l, explanation)
    f.__doc__ = 'a reply for a key ' + sentence + f' gets explanation {explanation}'
    tap.test(f)


bad_reply('without a challenge', PAYLOAD, lambda l: l.reply_msg(cvalid=0))
bad_reply('with our own challenge', FAILED, lambda l: l.reply_msg(c2=l.c1))
bad_reply('with DH value 1', PAYLOAD, lambda l: l.reply_msg(value=bytes(255) + b'\1'))


@tap.test
def tampered(s):
    """SC_C is part of the proof: who changes it on the way makes the login fail"""
    for told, meant in (NOSC, NEW), (NEW, NOSC):
        l = login(s, sc_c=meant)
        l.send(l.negotiate_msg(sc_c=told))
        l.take_challenge(l.receive(CHALLENGE))
        l.c2 = os.urandom(len(l.c1))
        l.send(l.reply_msg(cvalid=told == NEW))
        fails(l, FAILED)


@tap.test
def on_io(s):
    """only an admin queue generates keys"""
    with AuthController(s.port, KEY, 0, key_hash=1, groups=(0,)) as c:
        q = Queue(s.port)
        assert q.connect(None, 1, c.admin.cntlid).status == 0
        l = Login(q, KEY, 1, groups=(1,), sc_c=NEW)
        l.send(l.negotiate_msg())
        fails(l, CONCAT)


@tap.test
def in_service(s):
    """a queue that serves in the clear already, or over TLS, generates no new key"""
    with ConcatServer() as s:
        in_service_at(s)


def in_service_at(s):
    with AuthController(s.port, KEY, 1, key_hash=1, groups=(0,)) as c:
        l = Login(c.admin, KEY, 1, groups=(1,), sc_c=NEW)
        l.send(l.negotiate_msg())
        fails(l, CONCAT)
    with TlsQueue(s.port, generated(s)) as q:
        assert q.connect().dw0 & ~0xffff == 0
        l = Login(q, KEY, 1, groups=(1,), sc_c=NEW)
        l.send(l.negotiate_msg())
        fails(l, CONCAT)
    assert 'serves in the clear already' in s.said() and 'here over TLS already' in s.said()


# ---- the connection that has made one ----

@tap.test
def nothing_else(s):
    """after its login the connection in the clear carries nothing, holds no export, and ends"""
    assert s.ctl('create', 'brief', '1M').returncode == 0
    l = login(s, sub=subnqn('brief')).run()
    q = l.q
    for cqe in (q.prop_get(0), q.prop_set(0x14, 6 << 16 | 4 << 20 | 1), q.identify(1)[0], q.get_log(2, 512)[0],
                q.do(sqe(KEEP_ALIVE, q.next_cid()))[0]):
        assert cqe.sc == AUTH_REQUIRED and cqe.dnr, f'{cqe.status:#x}'
    with Queue(s.port) as io:
        assert io.connect(subnqn('brief'), 1, q.cntlid).sc == CMD_SEQ
    assert s.ctl('drop', 'brief').returncode == 0
    start = time.monotonic()
    assert q.ended() and time.monotonic() - start < 60
    q.close()


@tap.test
def no_way_back(s):
    """nor does it log in to be served in the clear; another key it may have"""
    l = login(s).run()
    again = Login(l.q, KEY, 1, groups=(1,), sc_c=NEW).run()
    for x in l, again:
        with served(s, identity(x)):
            pass
    l = Login(l.q, KEY, 1, groups=(0,))
    l.send(l.negotiate_msg())
    fails(l, CONCAT)


# ---- another key ----

@tap.test
def replaced(s):
    """over TLS a host replaces its key; the old one is worth nothing, what runs goes on"""
    for ctrl_key in None, CTRL_KEY:
        old = generated(s)
        with served(s, old) as c:
            l = Login(c.admin, KEY, 1, groups=(1,), sc_c=REPLACE, ctrl_key=ctrl_key, ctrl_hash=2).run()
            refused(s, old)
            assert c.io[0].read(5, 1)[1] == WITNESS
            assert c.admin.prop_get(0x1c).dw0 & 1
            with served(s, identity(l)) as d:
                assert d.io[0].read(5, 1)[1] == WITNESS
            c.options['psk'] = identity(l)
            assert c.add(2).read(5, 1)[1] == WITNESS


@tap.test
def again(s):
    """over TLS a host may prove itself anew without another key"""
    with served(s, generated(s)) as c:
        Login(c.admin, KEY, 1, groups=(0,)).run()
        Login(c.io[0], KEY, 1, groups=(0,)).run()
        assert c.io[0].read(5, 1)[1] == WITNESS


@tap.test
def replace_on_io(s):
    """an I/O queue replaces no key"""
    with served(s, generated(s)) as c:
        l = Login(c.io[0], KEY, 1, groups=(1,), sc_c=REPLACE)
        l.send(l.negotiate_msg())
        fails(l, CONCAT)


def forgotten(how):
    def f(s):
        with ConcatServer() as s:
            old = generated(s)
            c = served(s, old)
            hosts(s, ALICE.replace(secret(KEY, 1), secret(BOBS)), USUAL[1])
            reload(s, how)
            refused(s, old)
            assert c.admin.prop_get(0x1c).dw0 & 1
            l = login(s).to_challenge()
            l.send(l.reply_msg())
            fails(l, FAILED)
            with served(s, generated(s, key=BOBS, key_hash=0)):
                pass
            psk = generated(s, key=BOBS, key_hash=0)
            hosts(s, USUAL[1])
            reload(s, how)
            refused(s, psk)
            c.close()
    f.__doc__ = f'{how} forgets the keys of secrets that are no longer good; nobody is dropped'
    return f


for how_ in 'SIGHUP', 'memctl reload':
    tap.test(forgotten(how_))


# ---- required ----

def required_at(s, sub=None, host=HOSTNQN, key=KEY, key_hash=1):
    l = login(s, key, key_hash, NOSC, ask=ASCR, sub=sub, host=host)
    assert l.q.prop_get(0).sc == AUTH_REQUIRED
    l.send(l.negotiate_msg())
    fails(l, CONCAT)
    assert 'it has to use TLS (nvme connect --concat)' in s.said()
    psk = generated(s, ask=ASCR, sub=sub, host=host, key=key, key_hash=key_hash)
    with TlsQueue(s.port, psk) as q:
        cqe = q.connect(sub, host=host)
        assert cqe.status == 0 and not cqe.dw0 & ~0xffff
        q.enable()
        with Queue(s.port) as io:
            assert io.connect(sub, 1, q.cntlid, host=host).sc == CONNECT_HOST
        with TlsQueue(s.port, psk) as io:
            assert io.connect(sub, 1, q.cntlid, host=host).status == 0


@tap.test
def required(s):
    """with --nvme-concat=required nobody is served in the clear, and Connect says so"""
    with ConcatServer('--nvme-concat=required') as s:
        required_at(s)
        required_at(s, subnqn('bobs'), BOB, BOBS, 0)


@tap.test
def required_line(s):
    """concat=required in the file is for that host and its exports"""
    with ConcatServer(usual=(ALICE, USUAL[1] + ' concat=required')) as s:
        required_at(s, subnqn('bobs'), BOB, BOBS, 0)
        with AuthController(s.port, KEY, key_hash=1, groups=(0,)):
            pass


@tap.test
def required_export(s):
    """an export that asks for TLS is served by a generated key"""
    required_at(s, subnqn('safe'))
    with served(s, generated(s, sub=subnqn('safe'), ask=ASCR), subnqn('safe')) as c:
        assert c.io[0].read(0, 1)[0].status == 0


@tap.test
def required_tls(s):
    """with --nvme-tls=required too nothing but such a login begins in the clear"""
    path = f'/dev/shm/nvme-keys.{os.getpid()}'
    with open(path, 'w', opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write(f'host {HOSTNQN} key={key_text(TLS_KEY)}\n')
    retained = tls_psk(TLS_KEY, HOSTNQN, subnqn())
    try:
        with ConcatServer('--nvme-tls-keys', path, '--nvme-concat=offered') as s:
            required_at(s)
            for port in s.port, s.discovery:
                try:
                    with Queue(port) as q:
                        assert q.connect(DISCOVERY).sc == CONNECT_HOST
                except Ended:
                    assert port == s.discovery
            with TlsQueue(s.port, retained) as q:
                assert q.connect().dw0 & ~0xffff == ATR
                for sc_c in NEW, REPLACE:
                    l = Login(q, KEY, 1, groups=(1,), sc_c=sc_c)
                    l.send(l.negotiate_msg())
                    fails(l, CONCAT)
                    q = TlsQueue(s.port, retained)
                    q.connect()
                Login(q, KEY, 1, groups=(0,)).run()
                q.enable()
        with ConcatServer('--nvme-tls-keys', path) as s:  # off then, unless asked for
            try:
                Queue(s.port).close()
            except Ended:
                pass
            else:
                raise AssertionError('it got in')
    finally:
        os.unlink(path)


@tap.test
def off(s):
    """with --nvme-concat=off no key is generated, and there is no TLS"""
    for flags in ('--nvme-concat=off',), ('--nvme-auth-group=null',), ('--nvme-auth-hash=sha512',):
        with ConcatServer(*flags) as s:
            l = login(s, groups=(0, 1))
            l.send(l.negotiate_msg())
            fails(l, CONCAT)
            assert '--nvme-concat is off' in s.said()
            refused(s, tls_psk(os.urandom(32), HOSTNQN, subnqn(), hash_=0, kind='G'))
            with AuthController(s.port, KEY, key_hash=1):
                pass


@tap.test
def bad_start(s):
    """memserver says what is missing for it, in flags and in the file"""
    path = s.hosts + '.bad'
    with open(path, 'w', opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write(ALICE + ' concat=required\n')
    auth = f'--nvme-auth={path}'
    try:
        for flags, status, why in (
                (('--nvme-concat=offered',), 2, 'it needs --nvme-auth FILE'),
                (('--nvme-concat=sometimes', auth), 2, 'off, offered or required'),
                (('--nvme-concat=required', auth, '--nvme-auth-group=null'), 2, 'keys need a DH group'),
                (('--nvme-concat=off', auth), 1, 'needs --nvme-concat offered')):
            done = subprocess.run([*s.cmd[:1], '--export=1M', '--nvme=127.0.0.1:0', '--nbd=off', '--metrics=off',
                                   '--discovery=off', f'--control={s.dir}/c2', f'--pool={s.dir}/pool2', *flags],
                                  capture_output=True, text=True, timeout=120)
            assert done.returncode == status and why in done.stderr, (done.returncode, done.stderr)
            assert 'DHHC' not in done.stderr
    finally:
        os.unlink(path)


with ConcatServer() as server:
    server.witness = served(server, generated(server))
    assert server.witness.io[0].write(5, WITNESS)[0].status == 0
    try:
        tap.run(server, after=bystander_lives)
    finally:
        server.witness.close()
