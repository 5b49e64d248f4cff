#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Strangers at the door for remote administration: garbage, crowds, logins for which PAM has no
service of its own and which therefore all fail."""
import json
import os
import random
import re
import socket
import ssl
import subprocess
import sys
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)) + '/..')
# pylint: disable=wrong-import-position
from libserve import B, TOP, Memserver, children, main, wait


def dial(server):
    return socket.create_connection(('127.0.0.1', server.remote), timeout=60)


def wrap(server):
    c = ssl.create_default_context(cafile=server.dir + '/pki/ca-cert.pem')
    return c.wrap_socket(dial(server), server_hostname='localhost')


def replies(s, data):
    """The lines that come back for these bytes."""
    want = 1 if data.startswith(b'x') else data.count(b'\n') if data.strip() else 0
    got = b''
    try:
        s.sendall(data)
        while got.count(b'\n') < want and (more := s.recv(65536)):
            got += more
        s.unwrap()
    except (OSError, ValueError):
        pass
    return got


def ended(s):
    try:
        while s.recv(65536):
            pass
    except OSError as e:
        return not isinstance(e, TimeoutError)
    return True


def local_works(server):
    done = subprocess.run([B + '/memctl', '-s', server.control, 'list'], capture_output=True,
                          timeout=120, check=False)
    return done.returncode == 0


def handshakes(tap, server):
    dice = random.Random(7)
    noise = [b'', b'\x16', b'GET / HTTP/1.0\r\n\r\n', b'\x16\x03\x01\xff\xff' + bytes(300)]
    noise += [bytes(dice.randrange(256) for _ in range(dice.randrange(400))) for _ in range(60)]
    gone = 0
    for data in noise:
        with dial(server) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            gone += ended(s)
    tap.equal(gone, len(noise), 'what is no TLS ends its connection')
    for _ in range(40):
        s = dial(server)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        s.close()
    idle = [dial(server) for _ in range(60)]
    with wrap(server) as s:
        s.sendall(b'{"cmd":"list"}\n')
        tap.ok(b'yours is nobody' in s.recv(4096), 'a newcomer gets past a crowd that says nothing')
    tap.ok(local_works(server), 'so does who is on the host')
    for s in idle:
        s.close()


def lines(tap, server):
    bad = (b'\n', b'{}\n', b'[]\n', b'{"cmd":1}\n', b'{"cmd":"login"}\n', b'\0\n', b'{"cmd":"login","user":1}\n',
           b'{"cmd":"login","user":"a","password":{}}\n', b'{' * 5000 + b'\n', b'x' * 70000,
           b'{"cmd":"login","user":"' + b'u' * 5000 + b'","password":"x"}\n',
           b'{"cmd":"login","user":"","password":""}\n', b'{"cmd":"drop","name":"default"}\n',
           b'{"cmd":"login","user":"a\\u0000b","password":"x"}\n', b'{"cmd":"reload"}\n' * 500)
    for data in bad:
        with wrap(server) as s:
            s.settimeout(60)
            got = replies(s, data)
            if b'"ok":true' in got or (b'"ok":false' not in got and data != b'\n'):
                tap.ok(False, 'a stranger gets nothing', data[:100], got[:300])
    tap.ok(local_works(server), 'malformed requests of strangers do nothing')


def logins(tap, server):
    with wrap(server) as s:
        s.settimeout(120)
        file = s.makefile('rwb')
        said = []
        for i in range(200):
            file.write(json.dumps({'cmd': 'login', 'user': f'root{i % 3}', 'password': 'x' * i}).encode()
                       + b'\n')
            file.flush()
            said.append(json.loads(file.readline()))
    tap.ok(not any(r['ok'] for r in said), 'no guess opens anything')
    tap.ok(sum('too many failed' in r.get('error', '') for r in said) > 100,
           '... and most are not even asked', said[-1])
    for _ in range(20):
        s = wrap(server)
        s.sendall(b'{"cmd":"login","user":"root","password":"x"}\n')
        s.close()
    helper = children(server.pid)
    tap.ok(len(helper) == 1 and wait(lambda: not children(helper[0])),
           'no process is left behind', helper)


def test(tap):
    server = Memserver('--export', '16M', '--remote', '127.0.0.1:0', start=False)
    subprocess.run([TOP + '/tests/make-pki', server.dir + '/pki'], check=True)
    server.flags += ['--tls-cert', server.dir + '/pki/server-cert.pem', '--tls-key',
                     server.dir + '/pki/server-key.pem', '--audit', server.dir + '/audit']
    server.start()
    wait(lambda: 'remote control on' in server.log())
    server.remote = int(re.findall(r'remote control on 127\.0\.0\.1:(\d+)', server.log())[-1])
    handshakes(tap, server)
    lines(tap, server)
    logins(tap, server)
    with open(server.dir + '/audit') as file:
        tap.ok(all(json.loads(line) for line in file), 'the audit log stays lines of JSON')
    tap.equal(server.stop(), 0, 'it ends in good order')
    tap.equal(server.complaints(), '', 'no sanitizer complains')
    server.close()


main(test)
