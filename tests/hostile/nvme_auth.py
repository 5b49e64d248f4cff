#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
# flavours: asan tsan
"""NVMe/TCP with authentication: who gets in, and what everybody else gets.

After every test a host that has logged in before the first one still reads what it wrote, and
another can log in.
"""
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from libnvme import *  # noqa: E402,F403
from libdhchap import *  # noqa: E402,F403

tap = Tap()
AUTH_REQUIRED, CONNECT_HOST, INVALID_FIELD, SGL_LEN, SGL_TYPE, CMD_SEQ = (
    0x191, 0x184, 0x2, 0xf, 0x11, 0xc)
KEY, CTRL_KEY, OTHER_KEY, FLOOD_KEY = os.urandom(32), os.urandom(48), os.urandom(64), os.urandom(32)
BOB = 'nqn.2014-08.org.nvmexpress:bob'
FLOOD = 'nqn.2014-08.org.nvmexpress:flood'
WITNESS = os.urandom(BLOCK)


USUAL = (f'host {HOSTNQN} key={secret(KEY, 1)} controller={secret(CTRL_KEY, 2)}',
         f'host {BOB} key={secret(OTHER_KEY)} exports=bobs,more',
         f'host {FLOOD} key={secret(FLOOD_KEY)} exports=bobs')


class AuthServer(HostsServer):
    def __init__(self, *flags):
        super().__init__('--nvme-auth', USUAL, *flags, export=('64M', 'bobs=64M'))


def connected(s, sub=None, host=HOSTNQN):
    """A queue that has to log in."""
    q = Queue(s.port)
    cqe = q.connect(sub, host=host)
    assert cqe.status == 0 and cqe.dw0 & ~0xffff == ATR, f'{cqe.status:#x} {cqe.dw0:#x}'
    return q


def login(s, key=KEY, key_hash=1, **more):
    return Login(connected(s, more.get('sub'), more.get('host', HOSTNQN)), key, key_hash, **more)


def fails(l, explanation, t_id=None):
    """The next Receive brings AUTH_Failure1, and then the connection ends."""
    try:
        l.receive(SUCCESS1)
    except Failure1 as e:
        assert (e.rescode, e.explanation) == (FAILED, explanation), str(e)
        assert e.t_id == (l.t_id if t_id is None else t_id)
        assert l.q.ended()
        l.q.close()
        return
    raise AssertionError('it did not fail')


def bystander_lives(s):
    if s.witness is None:
        return
    assert s.alive(), 'memserver has died:\n' + s.said()
    cqe, data = s.witness.io[0].read(5, 1)
    assert cqe.status == 0 and data == WITNESS
    with AuthController(s.port, KEY, key_hash=1, groups=(0,)) as c:
        assert c.io[0].read(5, 1)[1] == WITNESS


# ---- who gets in ----

def combination(hash_, group):
    def f(s):
        for ctrl_key in None, CTRL_KEY:
            with AuthController(s.port, KEY, key_hash=1, ctrl_key=ctrl_key, ctrl_hash=2,
                                hashes=(hash_,), groups=(group,)) as c:
                assert (c.admin.login.hash, c.admin.login.group) == (hash_, group)
                assert c.io[0].read(5, 1)[1] == WITNESS
    f.__doc__ = f'a host proves itself, and gets our proof, by {HASHES[hash_]().name} and {NAMES[group]}'
    return f


for pair in (1, 0), (2, 0), (3, 0), (1, 1), (2, 2), (3, 3), (1, 4), (2, 5):
    tap.test(combination(*pair))


@tap.test
def choice(s):
    """of what a host offers the server takes what it prefers itself"""
    l = login(s, hashes=(3, 2, 1), groups=(5, 1, 0))
    l.run()
    assert (l.hash, l.group) == (1, 1)
    l.q.close()


@tap.test
def shown(s):
    """memctl who shows the host; show config shows the file's name and no secret"""
    assert HOSTNQN in s.ctl('who').stdout
    said = s.ctl('show', 'config').stdout
    assert s.hosts in said and 'DHHC' not in said
    assert 'DHHC' not in s.said()
    assert 'DHHC' not in open(f'/proc/{s.p.pid}/cmdline').read()


@tap.test
def other_exports(s):
    """a host gets the exports of its line and no others"""
    with AuthController(s.port, OTHER_KEY, host=BOB, sub=subnqn('bobs'), groups=(0,)):
        pass
    refused = s.metric('nvme_hosts_refused_total')
    for name in 'default', 'nothing-of-the-kind', 'bobs,more', '':
        with Queue(s.port) as q:
            cqe = q.connect(subnqn(name), host=BOB)
            assert cqe.sc == CONNECT_HOST and cqe.dnr, f'{name}: {cqe.status:#x}'
    assert s.metric('nvme_hosts_refused_total') == refused + 4


@tap.test
def unknown_host(s):
    """an unknown host gets Invalid Host, on every export and on discovery, and a line in the log"""
    with AuthServer() as s:
        unknown_host_at(s)


def unknown_host_at(s):
    for sub in subnqn(), subnqn('bobs'), DISCOVERY:
        with Queue(s.port) as q:
            cqe = q.connect(sub, host='nqn.2014-08.org.nvmexpress:mallory')
            assert cqe.sc == CONNECT_HOST and cqe.dnr
    assert 'host nqn.2014-08.org.nvmexpress:mallory may not use' in s.said()


@tap.test
def discovery(s):
    """discovery lists what the host may use"""
    for host, names in (HOSTNQN, {b'default', b'bobs'}), (BOB, {b'bobs'}):
        with Queue(s.discovery) as q:
            assert q.connect(DISCOVERY, host=host).status == 0
            q.enable()
            _, page = q.get_log(0x70, 1024 * 4)
            nr = struct.unpack_from('<Q', page, 8)[0]
            found = {page[1024 * i + 256:1024 * i + 512].rstrip(b'\0').partition(b'remem:')[2]
                     for i in range(1, nr + 1)}
            assert found == names, found


# ---- before the login ----

@tap.test
def nothing_before(s):
    """until it has logged in a host gets Authentication Required, whatever it asks"""
    q = connected(s)
    for cqe in (q.prop_get(0), q.prop_get(0x1c), q.prop_set(0x14, 6 << 16 | 4 << 20 | 1),
                q.identify(1)[0], q.get_log(2, 512)[0], q.do(sqe(AER, q.next_cid()))[0],
                q.do(sqe(KEEP_ALIVE, q.next_cid()))[0],
                q.do(struct.pack('<BBHB59x', 0x7f, 0x40, q.next_cid(), 8))[0]):
        assert cqe.sc == AUTH_REQUIRED and cqe.dnr, f'{cqe.status:#x}'
    q.close()


@tap.test
def nothing_before_on_io(s):
    """nor does an I/O queue do any I/O, with or without data"""
    with AuthController(s.port, KEY, 0, key_hash=1, groups=(0,)) as c:
        q = Queue(s.port)
        cqe = q.connect(None, 1, c.admin.cntlid)
        assert cqe.status == 0 and cqe.dw0 & ~0xffff == ATR
        q.nsid = c.nsid
        for cqe in (q.read(5, 1)[0], q.write(5, bytes(BLOCK))[0], q.io(FLUSH, 0, 1)[0],
                    q.io(FLUSH, 0, 1, nsid=0xffffffff)[0], q.io(WRITE_ZEROES, 5, 1)[0],
                    q.dsm([(5, 1)]), q.io(COMPARE, 5, 1, bytes(BLOCK))[0]):
            assert cqe.sc == AUTH_REQUIRED and cqe.dnr, f'{cqe.status:#x}'
        Login(q, KEY, 1, groups=(0,)).run()
        assert q.read(5, 1)[1] == WITNESS
        q.close()


@tap.test
def not_in_use(s):
    """a stranger does not hold an export: it can be dropped, and his queue takes no place"""
    assert s.ctl('create', 'brief', '1M').returncode == 0
    l = login(s, sub=subnqn('brief'))
    l.to_challenge()
    assert s.ctl('drop', 'brief').returncode == 0
    l.send(l.reply_msg())
    fails(l, FAILED)
    with AuthController(s.port, KEY, 0, key_hash=1, groups=(0,)) as c:
        stranger = Queue(s.port)
        assert stranger.connect(None, 1, c.admin.cntlid).status == 0
        q = log_in(s.port, KEY, 1, c.admin.cntlid, key_hash=1, groups=(0,))
        q.nsid = c.nsid
        assert q.read(5, 1)[0].status == 0
        late = Login(stranger, KEY, 1, groups=(0,)).to_challenge()
        late.send(late.reply_msg())
        fails(late, FAILED)
        assert q.read(5, 1)[0].status == 0
        q.close()


# ---- what is wrong in a login ----

@tap.test
def wrong_key(s):
    """a wrong key fails, is counted, and is logged with address and host"""
    with AuthServer() as s:
        wrong_key_at(s)


def wrong_key_at(s):
    before = s.metric('nvme_login_failures_total{reason="failed"}')
    l = login(s, os.urandom(32))
    l.to_challenge()
    l.send(l.reply_msg())
    fails(l, FAILED)
    assert s.metric('nvme_login_failures_total{reason="failed"}') == before + 1
    port = 'nvme 127.0.0.1:'
    assert any(port in line and HOSTNQN in line and 'key is not the one' in line
               for line in s.said().splitlines())


@tap.test
def right_key_wrong_hash(s):
    """the right secret, transformed by another hash or not at all, fails"""
    for key_hash in 0, 2, 3:
        l = login(s, KEY, key_hash).to_challenge()
        l.send(l.reply_msg())
        fails(l, FAILED)


@tap.test
def key_of_another(s):
    """another host's secret fails"""
    l = login(s, OTHER_KEY, 0).to_challenge()
    l.send(l.reply_msg())
    fails(l, FAILED)


@tap.test
def no_controller_key(s):
    """a host that wants our proof where there is none to give fails"""
    l = login(s, OTHER_KEY, 0, host=BOB, sub=subnqn('bobs'), ctrl_key=CTRL_KEY, ctrl_hash=2, groups=(0,))
    l.to_challenge()
    l.send(l.reply_msg())
    fails(l, FAILED)


@tap.test
def host_is_not_convinced(s):
    """a host that finds our proof wrong says AUTH_Failure2, and the connection ends"""
    with AuthServer() as s:
        host_is_not_convinced_at(s)


def host_is_not_convinced_at(s):
    l = login(s, ctrl_key=os.urandom(32))
    l.to_challenge()
    l.send(l.reply_msg())
    try:
        l.check_success1(l.receive(SUCCESS1))
        raise SystemExit('it took the wrong proof')
    except AssertionError as e:
        assert 'another key' in str(e)
    l.send(l.failure2_msg())
    assert l.q.ended()
    assert 'gives up its login' in s.said()
    l.q.close()


def bad_negotiate(sentence, explanation, make, **more):
    def f(s):
        l = login(s, **more)
        l.send(make(l))
        fails(l, explanation)
    f.__doc__ = 'AUTH_Negotiate ' + sentence + f' gets explanation {explanation}'
    tap.test(f)


bad_negotiate('that wants a secure channel', CONCAT, lambda l: l.negotiate_msg(sc_c=1))
bad_negotiate('without a protocol', PAYLOAD, lambda l: l.negotiate_msg(napd=0, descriptors=b''))
bad_negotiate('with more protocols than it brings', PAYLOAD, lambda l: l.negotiate_msg(napd=2))
bad_negotiate('with more bytes than protocols', PAYLOAD, lambda l: l.negotiate_msg() + b'\0')
bad_negotiate('cut off', PAYLOAD, lambda l: l.negotiate_msg()[:-1])
bad_negotiate('of another protocol', NOT_USABLE, lambda l: l.negotiate_msg(authid=2))
bad_negotiate('with more hashes than there is room', PAYLOAD, lambda l: l.negotiate_msg(halen=31))
bad_negotiate('with more groups than there is room', PAYLOAD, lambda l: l.negotiate_msg(dhlen=255))
bad_negotiate('without a hash', HASH, lambda l: l.negotiate_msg(halen=0))
bad_negotiate('without a group', GROUP, lambda l: l.negotiate_msg(dhlen=0))
bad_negotiate('with unknown hashes', HASH, lambda l: l.negotiate_msg(), hashes=(0, 4, 255))
bad_negotiate('with unknown groups', GROUP, lambda l: l.negotiate_msg(), groups=(6, 7, 255))


@tap.test
def second_protocol(s):
    """the protocol we speak is found behind others"""
    l = login(s, groups=(0,))
    l.send(l.negotiate_msg(napd=2, descriptors=l.descriptor(authid=9) + l.descriptor()))
    l.take_challenge(l.receive(CHALLENGE))
    l.send(l.reply_msg())
    l.check_success1(l.receive(SUCCESS1))
    l.q.close()


def bad_reply(sentence, explanation, make, **more):
    def f(s):
        l = login(s, ctrl_key=CTRL_KEY, ctrl_hash=2, **more).to_challenge()
        l.send(make(l))
        fails(l, explanation)
    f.__doc__ = 'a reply ' + sentence + f' gets explanation {explanation}'
    tap.test(f)


bad_reply('of another transaction', PAYLOAD, lambda l: l.reply_msg(t_id=8))
bad_reply('with another length of digest', PAYLOAD, lambda l: l.reply_msg(hl=48))
bad_reply('with a digest of no bytes', PAYLOAD, lambda l: l.reply_msg(hl=0))
bad_reply('whose DH value says to be longer', PAYLOAD, lambda l: l.reply_msg(dhvlen=0xffff))
bad_reply('with a short DH value', PAYLOAD, lambda l: l.reply_msg(value=l.value[1:]), groups=(1,))
bad_reply('without a DH value', PAYLOAD, lambda l: l.reply_msg(value=b''), groups=(1,))
bad_reply('with a DH value for no group', PAYLOAD, lambda l: l.reply_msg(value=bytes(256)), groups=(0,))
bad_reply('with DH value 0', PAYLOAD, lambda l: l.reply_msg(value=bytes(256)), groups=(1,))
bad_reply('with DH value 1', PAYLOAD, lambda l: l.reply_msg(value=bytes(255) + b'\1'), groups=(1,))
bad_reply('with DH value p - 1', PAYLOAD,
          lambda l: l.reply_msg(value=(prime(1) - 1).to_bytes(256, 'big')), groups=(1,))
bad_reply('with DH value p', PAYLOAD,
          lambda l: l.reply_msg(value=prime(1).to_bytes(256, 'big')), groups=(1,))
bad_reply('whose challenge is neither there nor not', PAYLOAD, lambda l: l.reply_msg(cvalid=2))
bad_reply('with a challenge without a number', PAYLOAD, lambda l: l.reply_msg(s2=0))
bad_reply('with our own challenge', FAILED, lambda l: l.reply_msg(c2=l.c1))
bad_reply('cut off', PAYLOAD, lambda l: l.reply_msg()[:-1])
bad_reply('with more behind it', PAYLOAD, lambda l: l.reply_msg() + b'\0')
bad_reply('of one byte', PAYLOAD, lambda l: b'\1')
bad_reply('of a header alone', PAYLOAD, lambda l: l.header(DHCHAP, REPLY))
bad_reply('with one bit changed', FAILED,
          lambda l: l.reply_msg()[:16] + bytes([l.reply_msg()[16] ^ 1]) + l.reply_msg()[17:])


@tap.test
def replayed(s):
    """a recorded reply is worth nothing on another connection, nor is one to an old challenge"""
    first = login(s, groups=(0,)).to_challenge()
    recorded = first.reply_msg()
    first.send(recorded)
    first.check_success1(first.receive(SUCCESS1))
    second = login(s, groups=(0,)).to_challenge()
    assert second.c1 != first.c1 and second.s1 != first.s1
    second.send(recorded)
    fails(second, FAILED)
    first.to_challenge()
    first.send(recorded)
    fails(first, FAILED)


@tap.test
def reflected(s):
    """our own proof, sent back as the host's, fails"""
    a = login(s, groups=(0,), ctrl_key=CTRL_KEY, ctrl_hash=2).to_challenge()
    b = login(s, groups=(0,)).to_challenge()
    a.c2, a.s2 = b.c1, b.s1
    a.send(a.reply_msg())
    data = a.receive(SUCCESS1)
    b.send(b.reply_msg(resp=data[16:16 + len(b.c1)]))
    fails(b, FAILED)
    a.q.close()


def bad_turn(sentence, make, t_id=None):
    def f(s):
        l = make(s)
        fails(l, MESSAGE, t_id)
    f.__doc__ = sentence + f' gets explanation {MESSAGE}'
    tap.test(f)


def sent(l, msg):
    l.send(msg)
    return l


bad_turn('a Receive before anything', lambda s: login(s), t_id=0)
bad_turn('a Receive instead of the reply', lambda s: login(s).to_challenge())
bad_turn('a reply before anything', lambda s: sent(login(s), struct.pack(
    '<BB2xHBxBxHI', DHCHAP, REPLY, 7, 32, 0, 0, 0) + bytes(64)))
bad_turn('a Success2 before anything', lambda s: sent(login(s), login(s).success2_msg()))
bad_turn('a Failure2 before anything', lambda s: sent(login(s), login(s).failure2_msg()))
bad_turn('a second AUTH_Negotiate', lambda s: sent(sent(login(s), login(s).negotiate_msg()),
                                                   login(s).negotiate_msg()))
bad_turn('a Success2 instead of the reply', lambda s: sent(login(s).to_challenge(),
                                                           login(s).success2_msg()))
bad_turn('an AUTH_Negotiate instead of the reply', lambda s: sent(login(s).to_challenge(),
                                                                  login(s).negotiate_msg()))
bad_turn('our own kind of message', lambda s: sent(login(s), struct.pack(
    '<BB2xH10x', DHCHAP, SUCCESS1, 7)))
bad_turn('a message of an unknown kind', lambda s: sent(login(s), struct.pack('<BB2xH10x', 7, 7, 7)))


@tap.test
def two_replies(s):
    """a second reply while the first is being checked ends it"""
    l = login(s).to_challenge()
    msg = l.reply_msg()
    l.send(msg)
    l.send(msg)
    fails(l, MESSAGE)


@tap.test
def not_yet_mutual(s):
    """who wants our proof is in service only when he has said Success2"""
    l = login(s, ctrl_key=CTRL_KEY, ctrl_hash=2, groups=(0,)).to_success1()
    assert l.q.prop_get(0).sc == AUTH_REQUIRED
    l.send(l.success2_msg())
    assert l.q.prop_get(0, 1).status == 0
    l.q.close()


@tap.test
def number_of_nothing(s):
    """a number without a challenge means nothing: so Linux 6.12 has it"""
    l = login(s, groups=(0,)).to_challenge()
    l.send(l.reply_msg(s2=99, c2=bytes(range(32))))
    l.check_success1(l.receive(SUCCESS1))
    assert l.q.prop_get(0, 1).status == 0
    l.q.close()


@tap.test
def success2_unasked(s):
    """a Success2 to who did not ask for our proof is out of turn"""
    l = login(s, groups=(0,)).to_success1()
    l.send(l.success2_msg())
    fails(l, MESSAGE)


def bad_command(sentence, status, receive, **fields):
    def f(s):
        l = login(s, groups=(0,))
        if receive:
            l.send(l.negotiate_msg())
            cqe, _ = l.receive_raw(**fields)
        else:
            cqe = l.send_raw(fields.pop('data', l.negotiate_msg()), **fields)
        assert cqe.sc == status and cqe.dnr, f'{cqe.status:#x}'
        assert l.q.ended()
        l.q.close()
    f.__doc__ = f'Authentication {"Receive" if receive else "Send"} {sentence} gets {status:#x} and the end'
    tap.test(f)


for receive in False, True:
    bad_command('for another security protocol', INVALID_FIELD, receive, secp=0xea)
    bad_command('with another SPSP0', INVALID_FIELD, receive, spsp0=0)
    bad_command('with another SPSP1', INVALID_FIELD, receive, spsp1=2)
bad_command('whose length is another than its data', SGL_LEN, False, tl=8)
bad_command('of more than any message', SGL_LEN, False, data=bytes(8000))
bad_command('of no bytes', SGL_TYPE, False, data=b'', kind='transport')
bad_command('of 4 GiB', SGL_LEN, True, al=0xffffffff)
bad_command('of no bytes', SGL_LEN, True, al=0)
bad_command('of less than the challenge', INVALID_FIELD, True, al=16)
bad_command('of another length than its data pointer', SGL_LEN, True, al=4096, length=512)
bad_command('into the capsule', SGL_TYPE, True, kind='capsule')


@tap.test
def two_receives(s):
    """a second Receive while one waits ends it, and the first one's memory is not lost"""
    l = login(s, groups=(5,))
    l.send(l.negotiate_msg())
    l.receive_cmd()
    l.receive_cmd()
    assert l.q.ended()
    l.q.close()


@tap.test
def gone_meanwhile(s):
    """hosts that go while their DH value is computed leave nothing behind"""
    for _ in range(40):
        l = login(s, FLOOD_KEY, 0, host=FLOOD, sub=subnqn('bobs'), groups=(4,))
        l.send(l.negotiate_msg())
        l.receive_cmd()
        l.q.close()


@tap.test
def oversized(s):
    """a capsule of more than 8 KiB is a protocol error before the login as after"""
    q = connected(s)
    q.cmd(struct.pack('<BBHB19x16sBBBBI16x', 0x7f, 0x40, 1, 5, sgl('capsule', 9000), 0, 1, 1, 0xe9, 9000),
          bytes(9000))
    assert q.recv().term()[0] == 1 and q.ended()


# ---- again ----

@tap.test
def again(s):
    """a host logs in again on queues in service, while its I/O goes on"""
    with AuthController(s.port, KEY, key_hash=1, ctrl_key=CTRL_KEY, ctrl_hash=2, groups=(0,)) as c:
        for q in c.admin, c.io[0]:
            for groups in (0,), (1,):
                Login(q, KEY, 1, groups=groups, t_id=9).run()
        l = Login(c.io[0], KEY, 1, groups=(1,))
        l.send(l.negotiate_msg())
        assert c.io[0].read(5, 1)[1] == WITNESS
        l.take_challenge(l.receive(CHALLENGE))
        assert c.io[0].read(5, 1)[1] == WITNESS
        l.send(l.reply_msg())
        l.check_success1(l.receive(SUCCESS1))
        assert c.io[0].read(5, 1)[1] == WITNESS


@tap.test
def again_wrong(s):
    """who fails to log in again loses that queue"""
    with AuthController(s.port, KEY, 2, key_hash=1, groups=(0,)) as c:
        l = Login(c.io[0], os.urandom(32), groups=(0,)).to_challenge()
        l.send(l.reply_msg())
        fails(l, FAILED)
        assert c.io[1].read(5, 1)[1] == WITNESS


@tap.test
def unfinished(s):
    """a login not begun within 20 s ends"""
    with AuthServer() as s:
        unfinished_at(s)


def unfinished_at(s):
    l = login(s)
    assert l.q.ended()
    assert 'no handshake within 20 s' in s.said()


# ---- keys that change ----

def rotation(how):
    def f(s):
        new = os.urandom(64)
        with AuthController(s.port, KEY, key_hash=1, groups=(0,)) as c:
            hosts(s, *USUAL, f'host {HOSTNQN} key={secret(new, 3)} exports=default')
            reload(s, how)
            for key, key_hash in (KEY, 1), (new, 3):
                with AuthController(s.port, key, key_hash=key_hash, groups=(0,)):
                    pass
            hosts(s, *USUAL[1:], f'host {HOSTNQN} key={secret(new, 3)}')
            reload(s, how)
            l = login(s, groups=(0,)).to_challenge()
            l.send(l.reply_msg())
            fails(l, FAILED)
            assert c.io[0].read(5, 1)[1] == WITNESS
            Login(c.io[0], new, 3, groups=(0,)).run()
            assert c.io[0].read(5, 1)[1] == WITNESS
        hosts(s, *USUAL)
        reload(s, how)
    f.__doc__ = f'{how} exchanges a key with a time in which both are good; nobody is dropped'
    return f


for how in 'SIGHUP', 'memctl reload':
    tap.test(rotation(how))


@tap.test
def bad_file(s):
    """a file with a mistake, or that others can read, changes nothing"""
    for text, mode, why in (('host nonsense', 0o600, ':1: after'), ('\n'.join(USUAL), 0o644, 'chmod 600'),
                            ('', 0o600, 'names no host')):
        with open(s.hosts, 'w') as f:
            f.write(text)
        os.chmod(s.hosts, mode)
        said = len(s.said())
        assert s.ctl('reload').returncode == 1
        assert why in s.said()[said:] and 'kept as it was' in s.said()[said:]
        assert 'DHHC' not in s.said()
        with AuthController(s.port, KEY, key_hash=1, groups=(0,)):
            pass
    hosts(s, *USUAL)
    reload(s, 'SIGHUP')


@tap.test
def bad_start(s):
    """memserver does not start with such a file, and says what to do"""
    path = s.hosts + '.bad'
    for mode, why in (0o640, 'chmod 600'), (None, 'No such file'):
        if mode:
            with open(path, 'w', opener=lambda p, f: os.open(p, f, 0o600)) as f:
                f.write('\n'.join(USUAL))
            os.chmod(path, mode)
        done = subprocess.run([*s.cmd[:1], '--export=1M', '--nvme=127.0.0.1:0', '--nbd=off', '--metrics=off',
                               '--discovery=off', f'--control={s.dir}/c2', f'--pool={s.dir}/pool2',
                               '--nvme-auth', path], capture_output=True, text=True, timeout=120)
        assert done.returncode == 1 and why in done.stderr, done.stderr
        assert 'DHHC' not in done.stderr
        if mode:
            os.unlink(path)


# ---- thousands ----

@tap.test
def thousands(s):
    """while thousands of logins fail others do their I/O and log in, and the log stays short"""
    stop, did, errors = threading.Event(), [0], []

    def flood():
        try:
            while not stop.is_set():
                if did[0] % 2:
                    l = login(s, os.urandom(32), 0, host=FLOOD, sub=subnqn('bobs'), groups=(0,))
                    l.to_challenge()
                    l.send(l.reply_msg())
                    fails(l, FAILED)
                else:
                    with Queue(s.port) as q:
                        assert q.connect(host='nqn.2014-08.org.nvmexpress:mallory').sc == CONNECT_HOST
                did[0] += 1
        except Exception as e:
            errors.append(e)

    before, lines = s.metric('nvme_login_failures_total{reason="failed"}'), len(s.said().splitlines())
    threads = [threading.Thread(target=flood) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        logins = 0
        end = time.monotonic() + 240
        while (did[0] < 3000 or logins < 10) and time.monotonic() < end and not errors:
            for _ in range(50):
                assert s.witness.io[0].read(5, 1)[1] == WITNESS
            if logins < 10:
                with AuthController(s.port, KEY, key_hash=1, groups=(1,)) as c:
                    assert c.io[0].read(5, 1)[1] == WITNESS
                logins += 1
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not errors, errors
    assert did[0] >= 3000 and logins == 10, (did, logins)
    assert s.metric('nvme_login_failures_total{reason="failed"}') > before + 1000
    assert len(s.said().splitlines()) - lines < 500, len(s.said().splitlines()) - lines


@tap.test
def clean_end(s):
    """after all that, memserver ends as cleanly as ever, logins under way and all"""
    l = login(s, groups=(5,))
    l.send(l.negotiate_msg())
    l.receive_cmd()
    s.stop()
    s.witness = None


def main():
    s = AuthServer()
    try:
        s.witness = AuthController(s.port, KEY, key_hash=1, ctrl_key=CTRL_KEY, ctrl_hash=2)
        assert s.witness.io[0].write(5, WITNESS)[0].status == 0
        tap.run(s, after=bystander_lives)
    finally:
        if s.alive():
            s.kill()
        os.unlink(s.hosts)


main()
