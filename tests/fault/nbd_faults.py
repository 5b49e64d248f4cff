#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""Faults below the NBD server, armed while it works: partial sends and receives, a kernel
that is short of memory, pages that do not come or do not go, a full pool, a host in need, a
log that nobody reads. Bytes stay right, errors go to whom they concern, the account is exact."""
import contextlib
import fcntl
import json
import os
import pty
import subprocess
import sys
import termios
import threading

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, HERE + '/..']
# pylint: disable=wrong-import-position,wildcard-import,unused-wildcard-import
from libnbdload import *
from libserve import B, Memserver, free_port, main, wait

MIB = 1 << 20
SIZE = 64 * MIB
CLIENTS = 3
CLIENT_BLOCKS = 1024


def memctl(server, *words):
    done = subprocess.run([B + '/memctl', '-s', server.control, '--json', *words], timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout) if done.stdout.strip() else None


def fault(server, spec):
    memctl(server, 'fault', spec)


def fired(server, point):
    return next(p.get('fired', 0) for p in memctl(server, 'fault') if p['name'] == point)


def account(server, name='default'):
    return next(e['resident'] for e in memctl(server, 'list') if e['name'] == name)


def together(server, loads, requests, depth=16):
    """All loads at once; what went wrong with each (None: nothing)."""
    ends = [None] * len(loads)

    def one(n, load):
        try:
            with Nbd(server.unix if n % 2 else server.port) as c:
                c.go('default', structured=n % 3 == 0)
                load.run(c, requests, depth)
        except Exception as e:  # pylint: disable=broad-except
            ends[n] = e

    threads = [threading.Thread(target=one, args=x) for x in enumerate(loads)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return ends


def new_loads(seed):
    return [Load(n * CLIENT_BLOCKS, CLIENT_BLOCKS, seed + n) for n in range(CLIENTS)]


def clear(server):
    """Everything given back, whatever was left for later."""
    fault(server, 'off')
    with Nbd(server.port) as c:
        c.go()
        for offset in range(0, SIZE, 2 * MIB):  # whoever lets go of a stripe punches the rest
            assert c.write(offset, b'x') == 0
        assert c.trim(0, SIZE) == 0
    assert server.wait_stored(0), server.stored()
    assert account(server) == 0, account(server)


def verified(server, loads):
    fault(server, 'off')
    with Nbd(server.port) as c:
        c.go()
        for load in loads:
            load.verify(c)
    assert account(server) == server.stored(), (account(server), server.stored())


def on_the_wire(tap, server):
    kinds = [('conn.short_send=EIO%30,conn.short_recv=EIO%30', 'bytes come and go one by one'),
             ('conn.send=EAGAIN%40', 'a socket that takes nothing now is tried again'),
             ('conn.recv=EAGAIN%40', 'one that has nothing now too'),
             ('conn.send=ENOMEM%20,conn.recv=ENOBUFS%20',
              'a kernel short of memory for a moment ends no connection')]
    for seed, (spec, sentence) in enumerate(kinds, 1):
        with tap.point(sentence):
            loads = new_loads(seed * 10)
            fault(server, spec)
            ends = together(server, loads, 300)
            assert ends == [None] * CLIENTS, ends
            assert all(fired(server, word.split('=')[0]) > 10 for word in spec.split(','))
            verified(server, loads)
            clear(server)
    for spec in ('conn.send=EPIPE@50', 'conn.recv=ECONNRESET@50'):
        with tap.point(f'{spec} ends one connection, the others go on'):
            loads = new_loads(100)
            fault(server, spec)
            ends = together(server, loads, 300)
            assert sorted(e is None for e in ends) == [False, True, True], ends
            assert all(isinstance(e, (Ended, OSError)) for e in ends if e), ends
            verified(server, loads)
            clear(server)


def in_the_memory(tap, server):
    kinds = [('export.populate=ENOMEM%30', {ENOSPC}, 'pages that do not come'),
             ('export.punch=EIO%50', set(), 'pages that do not go'),
             ('export.populate=ENOMEM%30,export.punch=EIO%50', {ENOSPC}, 'both'),
             ('pool.charge=ENOSPC%30', {ENOSPC}, 'a pool that is full now and then')]
    for seed, (spec, errors, what) in enumerate(kinds, 20):
        with tap.point(f'{what}: bytes stay right and the account exact'):
            loads = new_loads(seed * 10)
            fault(server, spec)
            ends = together(server, loads, 400)
            assert ends == [None] * CLIENTS, ends
            assert all(set(x.errors) == errors for x in loads), [x.errors for x in loads]
            verified(server, loads)
            clear(server)


def full(tap):
    """Several write into a pool that is too small for all."""
    with Memserver('--export', 'default=64M', '--export', 'small=64M,quota=1M', '--pool-limit', '4M') as server:
        loads = new_loads(500)
        with tap.point('in a pool that is full each request succeeds or says ENOSPC'):
            ends = together(server, loads, 500)
            assert ends == [None] * CLIENTS, ends
            assert {e for x in loads for e in x.errors} == {ENOSPC}, [x.errors for x in loads]
            assert server.stored() <= 4 * MIB
        with tap.point('and what was acknowledged is there'):
            with Nbd(server.port) as c:
                c.go()
                for load in loads:
                    load.verify(c)
        with Nbd(server.port) as c, Nbd(server.port) as d:
            c.go()
            d.go('small')
            c.trim(0, SIZE)
            tap.equal(d.write(0, b'x' * 2 * MIB), ENOSPC, 'a quota refuses what passes it')
            tap.equal(d.write(0, b'y' * MIB), 0, 'and takes what does not')
            tap.equal(d.write(MIB, b'z'), ENOSPC, 'to the last page')
            tap.equal(d.read(0, MIB), b'y' * MIB, 'reads go on')
            tap.equal(d.write(4096, b'y' * 4096), 0, 'as do writes to what is stored')
            tap.equal(c.write(0, b'c' * 2 * MIB), 0, 'the other client has room')
            tap.equal(d.zero(MIB, MIB), 0, 'zeroing takes none')
            tap.equal(d.zero(MIB, 4096, NO_HOLE), ENOSPC, 'unless it is to take some')
            tap.equal(d.trim(0, 4096), 0, 'a trim')
            tap.equal(d.write(MIB, b'z'), 0, 'makes room for another page')
        tap.equal(server.stop(), 0, 'it ends in good order')
        tap.equal(server.complaints(), '', 'and its sanitizers are silent')


def in_need(tap):
    """The host has less memory left than it keeps for itself."""
    with Memserver('--export', '16M', '--reserve', '0') as server:
        with Nbd(server.port) as c:
            c.go()
            c.write(0, b'stored' + bytes(4090))
        server.stop()
        server.flags[server.flags.index('--reserve') + 1] = '1P'
        server.start()
        with Nbd(server.port) as c:
            c.go()
            tap.equal(c.read(0, 6), b'stored', 'a host in need serves what is stored')
            tap.equal(c.write(1, b'T'), 0, 'lets it be changed')
            tap.equal(c.read(0, 6), b'sTored', 'and read again')
            tap.equal(c.write(4096, b'x'), ENOSPC, 'but lends no new page')
            tap.equal(c.trim(0, 4096), 0, 'takes pages back')
            tap.equal(server.stored(), 0, 'at once')
            tap.equal(c.write(0, b'x'), ENOSPC, 'and keeps them')
        tap.ok('no new pages are lent' in server.log(), 'the log says so', server.log())


def unread_log(tap):
    """Standard error is full, nobody's, or stopped: serving goes on."""
    def serves(stderr, what):
        port = free_port()
        with Memserver('--export', '16M', '--log-level', 'debug', '--nbd', f'127.0.0.1:{port}',
                       stderr=stderr) as server:
            server.port = port

            def up():
                with contextlib.suppress(OSError):
                    Nbd(port).close()
                    return True
                return False
            with tap.point(f'with standard error {what} it serves'):
                assert wait(up)
                with Nbd(port) as c:
                    c.go()
                    for n in range(2000):  # each refusal wants to log
                        assert c.call(77, n, 1).error == EINVAL
                    assert c.write(0, b'x') == 0
                for _ in range(300):
                    with Nbd(port) as c:
                        assert c.option(INFO, info_data('nosuch')) == ([], ERR_UNKNOWN)
            tap.equal(server.stop(), 0, 'and ends in good order')

    r, w = os.pipe()
    fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(w, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(w, b'x' * 100)
    os.set_blocking(w, True)
    serves(w, 'a full pipe')
    os.close(r)
    serves(w, 'a pipe nobody reads any more')
    os.close(w)
    master, slave = pty.openpty()
    termios.tcflow(slave, termios.TCOOFF)
    serves(slave, 'a stopped terminal')
    os.close(slave)
    os.close(master)


def test(tap):
    with Memserver('--export', '64M', '--threads', '2') as server:
        on_the_wire(tap, server)
        in_the_memory(tap, server)
        tap.equal(server.stop(), 0, 'it ends in good order')
        tap.equal(server.complaints(), '', 'and its sanitizers are silent')
    full(tap)
    in_need(tap)
    unread_log(tap)


main(test)
