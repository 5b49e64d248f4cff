#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 400
"""Peers of the control socket and of the metrics port that send garbage, too much, half of it or
nothing, and never read; and crowds of them. After each the server lives, an administrator and a
scraper get their answers, and a client swapping over NBD reads and writes on."""
import contextlib
import json
import os
import resource
import socket
import struct
import sys
import traceback
import urllib.error
import urllib.request

# Not this folder itself: its nbd.py is a test, libnbd's module is meant.
sys.path[0] = os.path.dirname(os.path.realpath(__file__)) + '/..'
# pylint: disable=wrong-import-position
import nbd
from libserve import Memserver, main, wait

REQUEST_MAX = 64 << 10
CLIENTS_MAX = 32


def dial(server):
    s = socket.socket(socket.AF_UNIX)
    s.connect(server.control)
    s.settimeout(60)
    return s


def read_line(s):
    """One answer; None at the end of the stream."""
    line = b''
    while not line.endswith(b'\n'):
        some = s.recv(1 << 16)
        if not some:
            return None
        line += some
    return json.loads(line)


def ask(server, **request):
    with dial(server) as s:
        s.sendall(json.dumps(request).encode() + b'\n')
        return read_line(s)


def push(s, data):
    """Sends what the server takes before it ends the connection."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        s.sendall(data)


class Guard:
    """The bystanders, and what must hold after each case."""

    def __init__(self, tap, server, url):
        self.tap, self.server, self.url = tap, server, url
        self.client = nbd.NBD()
        self.client.connect_uri(f'nbd://127.0.0.1:{server.port}/default')
        self.turn = 0

    def work(self):
        self.turn += 1
        data = struct.pack('>Q', self.turn) * 512
        self.client.pwrite(data, self.turn * 4096)
        assert self.client.pread(4096, self.turn * 4096) == data

    def check(self):
        assert self.server.alive(), self.server.log()[-3000:]
        assert not self.server.complaints(), self.server.complaints()
        self.work()
        assert ask(self.server, cmd='list')['result'][0]['name'] == 'default'
        with urllib.request.urlopen(self.url + '/metrics', timeout=60) as reply:
            assert b'memserver_build_info' in reply.read()

    @contextlib.contextmanager
    def case(self, sentence):
        try:
            yield
            self.check()
        except Exception:  # pylint: disable=broad-except
            self.tap.ok(False, sentence, traceback.format_exc())
        else:
            self.tap.ok(True, sentence)


def garbage(guard):
    server = guard.server
    lines = [b'', b'x', b'{', b'}', b'[]', b'null', b'1e999', b'{"cmd":1}', b'{"cmd":""}',
             b'{"cmd":"nope"}', b'{"cmd":"list"}x', b'\xff\xfe\x00\x01', b'{"cmd":"list\x00"}',
             b'[' * 5000, b'{"a":' * 5000, b'{"cmd":"create"}', b'{"cmd":"create","name":[]}',
             b'{"cmd":"create","name":"a","size":-1}', b'{"cmd":"create","name":"a","size":"4Q"}',
             b'{"cmd":"create","name":"a","size":18446744073709551615}',
             b'{"cmd":"create","name":"a\\u0000b","size":4096}',
             b'{"cmd":"create","name":"../../etc/x","size":4096}',
             b'{"cmd":"create","name":"' + b'n' * 65 + b'","size":4096}',
             b'{"cmd":"create","name":"%s%n%x","size":4096}',
             b'{"cmd":"resize","name":"default","size":0}', b'{"cmd":"drop","name":{}}',
             b'{"cmd":"drop","name":"default","force":"yes"}', b'{"cmd":"kick","id":0}',
             b'{"cmd":"kick","id":-1}', b'{"cmd":"kick","id":1e3}', b'{"cmd":"who","after":"x"}',
             b'{"cmd":"stat","name":7}', b'{"cmd":"log-level","level":3}',
             b'{"cmd":"fault","set":"no.such=EIO"}', b'{"cmd":"fault","set":"="}',
             b'{"cmd":"log-level","level":"\\u001b[2J"}']
    with guard.case('a line that is no request gets an error, and the next line its answer'):
        with dial(server) as s:
            for line in lines:
                s.sendall(line + b'\n')
                if line:
                    answer = read_line(s)
                    assert answer['ok'] is False and answer['error'] and answer['errno'] > 0, (line, answer)
            s.sendall(b'{"cmd":"list"}\n')
            assert [e['name'] for e in read_line(s)['result']] == ['default']
    with guard.case('all of it at once is answered line by line'):
        with dial(server) as s:
            s.sendall(b'\n'.join(lines) + b'\n')
            for line in lines:
                assert not line or read_one(s)['ok'] is False


def read_one(s):
    """One answer of several that may come in one piece."""
    line = b''
    while not line.endswith(b'\n'):
        some = s.recv(1)
        assert some
        line += some
    return json.loads(line)


def too_long(guard):
    server = guard.server
    pad = b'{"cmd":"list","x":"%s"}'
    with guard.case('a line of 64 KiB is taken'):
        with dial(server) as s:
            s.sendall(pad % (b'x' * (REQUEST_MAX - len(pad) + 2)) + b'\n')
            assert read_line(s)['ok']
    with guard.case('one byte more is an error and the end'):
        with dial(server) as s:
            push(s, pad % (b'x' * (REQUEST_MAX - len(pad) + 3)) + b'\n')
            answer = read_line(s)
            assert answer['ok'] is False and '64 KiB' in answer['error'], answer
            with contextlib.suppress(ConnectionResetError):
                assert read_line(s) is None
    with guard.case('a megabyte without an end is an error and the end'):
        with dial(server) as s:
            push(s, b'x' * (1 << 20))
            with contextlib.suppress(ConnectionResetError):
                while s.recv(1 << 16):
                    pass


def half(guard):
    server = guard.server
    with guard.case('half a line and then silence holds up nobody'):
        with dial(server) as s:
            s.sendall(b'{"cmd":"li')
            guard.check()
            s.sendall(b'st"}\n')
            assert read_line(s)['ok']
    with guard.case('half a line and then the end is nothing'):
        with dial(server) as s:
            s.sendall(b'{"cmd":"drop","name":"default","force":true}')
    with guard.case('a request whose client is gone at once is carried out or not, no more'):
        for _ in range(50):
            with dial(server) as s:
                s.sendall(b'{"cmd":"stat","name":"default"}\n' * 100)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))


def slow(guard):
    server = guard.server
    readers = [dial(server) for _ in range(8)]
    with guard.case('clients that ask on and on and never read hold up nobody'):
        for s in readers:
            s.settimeout(0)
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                for _ in range(2000):
                    s.send(b'{"cmd":"stat","name":"default"}\n' * 16)
    for s in readers:
        s.close()


def crowd(guard):
    server = guard.server
    with guard.case('200 silent clients keep no administrator out'):
        clients = [dial(server) for _ in range(200)]
        guard.check()
        held = len(os.listdir(f'/proc/{server.pid}/fd'))
        assert held < 3 * CLIENTS_MAX, f'{held} descriptors'
        for s in clients:
            s.close()
    with guard.case('and those who stay silent longest are ended'):
        clients = [dial(server) for _ in range(CLIENTS_MAX + 1)]
        clients[0].settimeout(60)
        assert clients[0].recv(1) == b''
        for s in clients[1:]:
            s.sendall(b'{"cmd":"version"}\n')
            assert read_line(s)['ok']
        for s in clients:
            s.close()


def connections(guard):
    """The answers stay whole however many connections there are to tell of."""
    server = guard.server
    with guard.case('1,200 connections are listed, in pages'):
        peers = [socket.create_connection(('127.0.0.1', server.port)) for _ in range(1200)]
        for s in peers:
            s.recv(18)  # the greeting: it has entered the register
        ids = []
        while True:
            page = ask(server, cmd='who', after=ids[-1] if ids else 0)['result']
            if not page:
                break
            assert len(page) <= 1000
            ids += [c['id'] for c in page]
        assert len(ids) == len(set(ids)) >= 1200, len(ids)
        for s in peers:
            s.close()
        # The last page of them goes when the workers have seen the ends.
        assert wait(lambda: len(ask(server, cmd='who')['result']) < 1000)


def http(guard):
    port = int(guard.url.rsplit(':', 1)[1])

    def connect():
        return socket.create_connection(('127.0.0.1', port), timeout=60)

    with guard.case('clients of the metrics that say nothing, or a byte of it, keep no scraper out'):
        loris = [connect() for _ in range(100)]
        for s in loris[::2]:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                s.sendall(b'GET /metrics HTTP/1.1\r\nX: ')
        guard.check()
        for s in loris:
            s.close()
    with guard.case('those who never read the answer neither'):
        deaf = []
        for _ in range(20):
            s = connect()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                s.sendall(b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n' * 50)
            deaf.append(s)
        guard.check()
        for s in deaf:
            s.close()
    with guard.case('what is no HTTP is an error or the end'):
        for data in (b'\x00' * 1000, b'GET\r\n\r\n', b'x' * 100000, b'GET /' + b'a' * 70000,
                     b'GET /metrics HTTP/1.1\r\n' + b'A: b\r\n' * 20000 + b'\r\n',
                     b'POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n',
                     b'GET /metrics HTTP/9.9\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n'):
            with connect() as s:
                push(s, data)
                with contextlib.suppress(OSError):  # the server may have ended it by now
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(1 << 16):
                        pass


def run(tap):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    with Memserver('--export', '64M', '--metrics', '127.0.0.1:0', '--reserve', '0') as server:
        assert wait(lambda: 'ready: metrics on ' in server.log())
        url = server.log().split('ready: metrics on ')[1].split('/metrics')[0]
        guard = Guard(tap, server, url)
        for cases in (garbage, too_long, half, slow, crowd, connections, http):
            cases(guard)
        tap.equal(server.stop(), 0, 'after all this SIGTERM still ends it cleanly')
        tap.ok(not server.complaints(), 'and the sanitizers have nothing to say', server.complaints())


main(run)
