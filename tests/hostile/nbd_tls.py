#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers that abuse NBD's STARTTLS: downgrades, garbage, half a handshake, a crowd of those."""
import os
import random
import ssl
import subprocess
import sys
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)) + '/..')
# pylint: disable=wrong-import-position
from libnbdraw import (ABORT, ERR_INVALID, EXPORT_NAME, FLUSH, GO, LIST, READ, REP_ACK, STARTTLS,
                       STRUCTURED, Ended, Nbd, info_data)
from libserve import TOP, Memserver, main, wait

TLS_REQD = 0x80000005
CROWD = 300


def context(pki, who=None, low=ssl.TLSVersion.TLSv1_2, high=ssl.TLSVersion.TLSv1_3):
    c = ssl.create_default_context(cafile=pki + '/ca-cert.pem')
    c.set_ciphers('DEFAULT@SECLEVEL=0')
    c.minimum_version, c.maximum_version = low, high
    if who:
        c.load_cert_chain(f'{pki}/{who}/client-cert.pem', f'{pki}/{who}/client-key.pem')
    return c


class Tls(Nbd):
    """A client that encrypts."""

    def __init__(self, server, c):
        super().__init__(server.port)
        assert self.option(STARTTLS)[1] == REP_ACK
        self.s = c.wrap_socket(self.s, server_hostname='localhost')


def hello(pki):
    """A good first message of a client."""
    to, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context(pki).wrap_bio(to, out, server_hostname='localhost').do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def works(server, pki):
    with Tls(server, context(pki, 'alice')) as client:
        client.go()
        client.post(READ, 0, 4096)
        return client.reply(4096).data == bytes(4096)


def in_the_clear(tap, server):
    with Nbd(server.port) as c:
        for option, data in ((LIST, b''), (GO, info_data('')), (STRUCTURED, b''), (77, b'')):
            tap.equal(c.option(option, data)[1], TLS_REQD, f'option {option} in the clear: TLS first')
        tap.equal(c.option(STARTTLS, b'x')[1], ERR_INVALID, 'STARTTLS with data is malformed')
        tap.equal(c.option(ABORT)[1], REP_ACK, 'one may always leave')
    with Nbd(server.port) as c:
        c.send(c.option_bytes(EXPORT_NAME, b'default'))
        tap.ok(c.ended(), 'EXPORT_NAME in the clear ends the connection')
    with Nbd(server.port) as c:
        c.send(c.option_bytes(STARTTLS), c.option_bytes(GO, info_data('')))
        tap.ok(c.ended() and 'ahead of its TLS handshake' in server.log(),
               'what is sent in the clear behind STARTTLS is never taken')


def versions(tap, server, pki):
    old = context(pki, 'alice', ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    with tap.point('TLS 1.1 is refused'):
        try:
            Tls(server, old).close()
            raise AssertionError('it was let in')
        except (ssl.SSLError, ConnectionResetError):
            pass
    with tap.point('TLS 1.2 is not'):
        with Tls(server, context(pki, 'alice', high=ssl.TLSVersion.TLSv1_2)) as c:
            c.go()
            assert c.s.version() == 'TLSv1.2'
    with Tls(server, context(pki, 'alice')) as c:
        tap.equal(c.option(STARTTLS)[1], ERR_INVALID, 'encryption within encryption is malformed')
        several, kind = c.option(STRUCTURED)
        tap.equal((several, kind), ([], REP_ACK), '... and the connection goes on')


def garbage(tap, server, pki):
    good = hello(pki)
    tries = [b'', b'\x16', b'GET / HTTP/1.1\r\n\r\n' * 40, b'\x16\x03\x01\xff\xff' + bytes(70000),
             b'\x16\x03\x01\x40\x00\x01\xff\xff\xff' + bytes(16380), good[:60], b'\x15\x03\x01\x00\x02\x02\x28',
             good + good, b'\x17\x03\x03\x00\x20' + bytes(32)]
    dice = random.Random(5)
    for _ in range(150):
        bent = bytearray(good)
        for _ in range(dice.randrange(1, 6)):
            bent[dice.randrange(len(bent))] = dice.randrange(256)
        tries.append(bytes(bent[:dice.choice((len(bent), dice.randrange(len(bent))))]))
    ended = 0
    for data in tries:
        with Nbd(server.port) as c:
            c.option(STARTTLS)
            try:
                c.send(data)
                c.s.shutdown(1)
            except OSError:
                pass
            ended += c.ended()
    tap.equal(ended, len(tries), 'garbage for a handshake ends its connection')
    lines = sum('TLS handshake' in line for line in server.log().splitlines())
    tap.ok(0 < lines < len(tries), 'it is logged, not line by line', f'{lines} lines')
    with Tls(server, context(pki, 'alice')) as c:
        c.go()
        os.write(c.s.fileno(), b'\x17\x03\x03\x00\x20' + bytes(32))
        tap.ok(c.ended(), 'a record that nobody signed ends it too')
    tap.ok(works(server, pki), 'others are served')


def crowd(tap, server, pki, handshakes):
    """Half a handshake each, which is never finished."""
    with Tls(server, context(pki, 'alice')) as worker:
        worker.go()
        idle = []
        for i in range(CROWD):
            c = Nbd(server.port)
            c.option(STARTTLS)
            if i % 2:
                c.send(hello(pki)[:100])
            idle.append(c)
            if i % 10 == 0:
                worker.post(READ, i * 4096, 4096)
                assert worker.reply(4096).error == 0
        tap.ok(wait(lambda: handshakes('crowded') >= CROWD - 256),
               'so many handshakes at a time; who took longest makes room')
        tap.ok(works(server, pki), 'a new client comes in past the crowd')
        worker.post(FLUSH)
        tap.ok(worker.reply().error == 0, 'a client at work did not notice')
        gone = sum(c.ended() for c in idle)
        tap.equal(gone, CROWD, 'half a handshake is ended after a time')
        tap.ok(handshakes('timeout') >= 200, 'metrics tell of it')
        for c in idle:
            c.close()


def vanishing(tap, server, pki):
    for i in range(60):
        c = Nbd(server.port)
        c.option(STARTTLS)
        if i % 3:
            c.send(hello(pki)[:i * 5])
        c.vanish()
    idle = [Nbd(server.port) for _ in range(8)]
    for c in idle:
        c.option(STARTTLS)
    tap.ok(works(server, pki), 'clients that vanish in their handshake leave nothing behind')
    tap.equal(server.stop(), 0, 'the server ends while handshakes are under way')
    tap.ok(all(c.ended() for c in idle), '... and with it those')


def test(tap):
    server = Memserver('--export', '16M', '--metrics', '127.0.0.1:0', start=False)
    pki = server.dir + '/pki'
    subprocess.run([TOP + '/tests/make-pki', pki], check=True)
    server.flags += ['--tls-cert', pki + '/server-cert.pem', '--tls-key', pki + '/server-key.pem',
                     '--tls-ca', pki + '/ca-cert.pem']
    server.start()
    wait(lambda: 'metrics on http' in server.log())
    url = server.log().split('metrics on ')[1].split()[0]

    def handshakes(result):
        text = subprocess.run(['curl', '-s', url], capture_output=True, text=True, check=True).stdout
        return int(text.split(f'tls_handshakes_total{{result="{result}"}} ')[1].split()[0])

    in_the_clear(tap, server)
    versions(tap, server, pki)
    garbage(tap, server, pki)
    crowd(tap, server, pki, handshakes)
    vanishing(tap, server, pki)
    tap.equal(server.complaints(), '', 'no sanitizer complains')
    server.flags += ['--tls-min', '1.3']
    server.start()
    with tap.point('with --tls-min 1.3 version 1.2 is refused'):
        try:
            Tls(server, context(pki, 'alice', high=ssl.TLSVersion.TLSv1_2)).close()
            raise AssertionError('it was let in')
        except (ssl.SSLError, ConnectionResetError, Ended):
            pass
    tap.ok(works(server, pki), '... and 1.3 is not')
    server.close()


main(test)
