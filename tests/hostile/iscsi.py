#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 240
"""Who must not get in over iSCSI, however often it tries: wrong secrets by the thousand,
logins that are cut short, too long or nonsense, secrets that are changed meanwhile. An
initiator that is logged in goes on with its work all the time.

A small initiator of our own (RFC 7143, 11.12 and 12.1): it logs in as far as it is told."""
import hashlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)) + '/..')
from libserve import B, LONG, Memserver, free_port, main, wait  # noqa: E402

IQN = 'iqn.2026-11.io.remem:'
TRIES = 2000


class Initiator:
    """One connection; login requests by hand."""

    def __init__(self, port):
        self.s = socket.create_connection(('127.0.0.1', port), timeout=LONG)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.cmdsn, self.expstatsn = 1, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    @staticmethod
    def pdu(keys, flags, cmdsn=1, expstatsn=0, length=None, opcode=0x43):
        data = b''.join(f'{k}={v}\0'.encode() for k, v in keys)
        header = struct.pack('>BBBBB3s6sHIHHII16x', opcode, flags, 0, 0, 0,
                             (len(data) if length is None else length).to_bytes(3, 'big'),
                             b'\x80\x11\x22\x33\x44\x55', 0, 7, 1, 0, cmdsn, expstatsn)
        return header + data + bytes(-len(data) % 4)

    def take(self, n):
        data = b''
        while len(data) < n:
            more = self.s.recv(n - len(data))
            if not more:
                raise ConnectionError(f'it ended after {len(data)} of {n} bytes')
            data += more
        return data

    def login(self, keys, flags):
        """-> (class << 8 | detail, its keys)"""
        self.s.sendall(self.pdu(keys, flags, self.cmdsn, self.expstatsn))
        header = self.take(48)
        n = int.from_bytes(header[5:8], 'big')
        text = self.take(n + -n % 4)[:n]
        self.expstatsn = struct.unpack('>I', header[24:28])[0] + 1
        said = dict(x.split('=', 1) for x in text.decode(errors='replace').split('\0') if '=' in x)
        return struct.unpack('>H', header[36:38])[0], said

    def names(self, method):
        return [('InitiatorName', 'iqn.2026-11.test:hostile'), ('SessionType', 'Normal'),
                ('TargetName', IQN + 'default'), ('AuthMethod', method)]

    def chap(self, user, secret):
        """The status of a login by CHAP with MD5, up to the end of the security stage."""
        status, said = self.login(self.names('CHAP'), 0x00)
        if status:
            return status
        status, said = self.login([('CHAP_A', '5')], 0x00)
        if status:
            return status
        challenge = bytes.fromhex(said['CHAP_C'][2:])
        response = hashlib.md5(bytes([int(said['CHAP_I'])]) + secret.encode() + challenge)
        status, _ = self.login([('CHAP_N', user), ('CHAP_R', '0x' + response.hexdigest())], 0x81)
        return status


def login(port, user, secret):
    with Initiator(port) as i:
        return i.chap(user, secret)


def without(port):
    """A login that offers none: straight to the operational stage."""
    with Initiator(port) as i:
        return i.login(i.names('None'), 0x81)[0]


def memctl(server, *words):
    return subprocess.run([B + '/memctl', '-s', server.control, *words], capture_output=True,
                          text=True, timeout=LONG, check=False)


def iscsi_stat(server):
    return json.loads(memctl(server, '--json', 'stat').stdout)['iscsi']


def worker_of(server):
    """(id, operations) of the initiator that works; it may be reconnecting."""
    for c in json.loads(memctl(server, '--json', 'who').stdout):
        if c['front'] == 'iscsi' and 'iscsi-perf' in c['client']:
            return c['id'], sum(io['ops'] for io in c['io'].values())
    return None, 0


def progress(server):
    """It does another thousand operations, over the session it has."""
    session, before = worker_of(server)
    return wait(lambda: worker_of(server)[0] == session
                and worker_of(server)[1] > before + 1000) and session is not None


def write_secrets(path, *lines):
    with open(path + '.new', 'w', encoding='ascii') as f:
        f.write('\n'.join(lines) + '\n')
    os.chmod(path + '.new', 0o600)
    os.rename(path + '.new', path)


def many_failures(tap, server, port, metrics):
    lines, refused = server.log().count('a login was refused'), 0
    for i in range(TRIES):
        refused += login(port, 'alice', f'notthesecret{i}') == 0x0201
    tap.equal(refused, TRIES, f'{TRIES} logins with wrong secrets are refused, with the status for that')
    tap.equal(login(port, 'mallory', 'alicesecret1234') >> 8, 2, 'an unknown user is refused')
    tap.ok(progress(server), 'the initiator that is logged in goes on')
    lines = server.log().count('a login was refused') - lines
    tap.ok(0 < lines < TRIES / 10, 'the log has some of them', lines)
    tap.ok('hostile' in server.log(), "and names the initiator")
    tap.ok(wait(lambda: iscsi_stat(server)['refused'] > TRIES * 9 / 10), 'they are counted', iscsi_stat(server))
    with urllib.request.urlopen(f'http://127.0.0.1:{metrics}/metrics', timeout=LONG) as answer:
        said = re.search(r'^memserver_iscsi_refused_total (\d+)$', answer.read().decode(), re.M)
    tap.ok(said and int(said[1]) > TRIES * 9 / 10, 'and in the metrics', said)
    tap.equal(iscsi_stat(server)['restarts'], 0, 'tgtd has not died of it')
    tap.equal(login(port, 'alice', 'alicesecret1234'), 0, 'the right secret still comes in')
    tap.equal(without(port), 0x0201, 'who offers no CHAP is refused')


def rotation(tap, server, port, secrets):
    session = worker_of(server)[0]
    write_secrets(secrets, 'initiator alice anothersecret99', 'initiator bob bobssecret5678',
                  'target memserver targetsecret77')
    tap.equal(memctl(server, 'reload').returncode, 0, 'memctl reload')
    tap.ok(login(port, 'alice', 'alicesecret1234') == 0x0201, 'the old secret is no longer good')
    tap.equal((login(port, 'alice', 'anothersecret99'), login(port, 'bob', 'bobssecret5678')), (0, 0),
              'the new ones are')
    tap.ok(progress(server) and worker_of(server)[0] == session, 'the session is the same, and works')

    everybody = [f'initiator user{i} secretofuser{i}' for i in range(14)]
    for nr in (14, 3, 9, 2):
        write_secrets(secrets, *everybody[:nr])
        assert not memctl(server, 'reload').returncode
        got = [login(port, f'user{i}', f'secretofuser{i}') for i in range(14)]
        tap.equal(got, [0] * nr + [0x0201] * (14 - nr), f'{nr} accounts: all of them and nobody else')
    write_secrets(secrets, 'initiator alice anothersecret99')
    assert not memctl(server, 'reload').returncode

    write_secrets(secrets, 'initiator alice short')
    refused = memctl(server, 'reload')
    tap.ok(refused.returncode == 1 and ':1:' in refused.stderr and 'as they were' in refused.stderr,
           'a file with a mistake is refused, with its line', refused)
    tap.equal(login(port, 'alice', 'anothersecret99'), 0, 'and changes nothing')
    os.chmod(secrets, 0o644)
    refused = memctl(server, 'reload')
    tap.ok(refused.returncode == 1 and 'chmod 600' in refused.stderr, 'so is one that others can read', refused)

    let_in = 0
    for i in range(20):
        write_secrets(secrets, f'initiator alice rotatedsecret{i}')
        reload = subprocess.Popen([B + '/memctl', '-s', server.control, 'reload'])
        while reload.poll() is None:
            let_in += without(port) == 0
        assert not reload.returncode
    tap.equal(let_in, 0, 'while secrets change nobody comes in without')
    tap.equal(login(port, 'alice', 'rotatedsecret19'), 0, 'the last secret is the good one')
    write_secrets(secrets, 'initiator alice bysighup12345')
    server.process.send_signal(1)
    tap.ok(wait(lambda: login(port, 'alice', 'bysighup12345') == 0), 'SIGHUP reads them again, too')
    tap.ok(progress(server) and worker_of(server)[0] == session, 'the session is still the same')
    tap.equal(iscsi_stat(server)['restarts'], 0, 'tgtd was not started again for it')
    said = server.log() + memctl(server, 'show', 'config').stdout
    tap.ok(not re.search('rotatedsecret|bysighup|anothersecret', said), 'no secret is in the log or shown')


def broken(tap, server, port, secrets):
    """tgtd's own parser: it may refuse, hang up or die; we only promise that it serves again."""
    write_secrets(secrets, 'initiator alice alicesecret1234')  # those of who is at work
    assert not memctl(server, 'reload').returncode
    login_pdu = Initiator.pdu([('InitiatorName', 'iqn.x:y')], 0x00)
    for what, raw in (
            ('a login cut short', login_pdu[:30]),
            ('a login without its data', login_pdu[:48]),
            ('a login of 16 MiB', Initiator.pdu([('InitiatorName', 'x' * 70000)], 0, length=0xffffff)),
            ('keys without an end', Initiator.pdu([], 0, length=8) + b'Initiato'),
            ('a name of 60000 bytes', Initiator.pdu([('InitiatorName', 'x' * 60000)], 0)),
            ('an unknown stage', Initiator.pdu([('InitiatorName', 'iqn.x:y')], 0x8a)),
            ('a command before the login', Initiator.pdu([], 0x80, opcode=0x01)),
            ('nothing but zeros', bytes(48)), ('nothing but ones', b'\xff' * 4096)):
        with Initiator(port) as i:
            try:
                i.s.sendall(raw)
                i.s.shutdown(socket.SHUT_WR)
                while i.s.recv(65536):
                    pass
            except OSError:
                pass
        tap.ok(wait(lambda: login_or_wait(port) == 0), f'{what}: it serves afterwards')
    tap.ok(server.alive(), 'memserver is there')
    tap.ok(wait(lambda: worker_of(server)[0] is not None) and progress(server),
           'and the initiator at work')


def login_or_wait(port):
    try:
        return login(port, 'alice', 'alicesecret1234')
    except OSError:
        return -1


def test(tap):
    port, metrics = free_port(), free_port()
    with Memserver('--export', '64M', '--iscsi', f'127.0.0.1:{port}',
                   '--metrics', f'127.0.0.1:{metrics}', start=False) as server:
        secrets = server.dir + '/secrets'
        write_secrets(secrets, 'initiator alice alicesecret1234')
        server.flags += ['--iscsi-auth', secrets]
        server.start()
        url = f'iscsi://alice%alicesecret1234@127.0.0.1:{port}/{IQN}default/1'
        perf = subprocess.Popen(['iscsi-perf', '-n', '-x', '-1', '-m', '4', '-b', '1', url],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
        try:
            tap.ok(wait(lambda: worker_of(server)[1] > 0), 'an initiator is at work')
            many_failures(tap, server, port, metrics)
            rotation(tap, server, port, secrets)
            broken(tap, server, port, secrets)
        finally:
            perf.kill()
            perf.wait()
        tap.equal(server.complaints(), '', 'no sanitizer complains')


main(test)
