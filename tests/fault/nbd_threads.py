#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# flavours: tsan asan
# timeout: 600
"""Real clients on several workers at once, verified, while others come and go, are kicked,
and exports are made, resized, looked at and dropped: under ThreadSanitizer."""
import contextlib
import itertools
import os
import random
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, HERE + '/..']
# pylint: disable=wrong-import-position,wildcard-import,unused-wildcard-import
from libnbdload import *
from libserve import B, Memserver, main

MIB = 1 << 20
LOADS, CLIENT_BLOCKS, REQUESTS = 6, 300, 2500


def memctl(server, *words):
    """Its status; what it says is of no interest here."""
    return subprocess.run([B + '/memctl', '-s', server.control, *words], timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


class Crowd:
    """Threads that go on until the loads are done."""

    def __init__(self):
        self.done = threading.Event()
        self.trouble = []
        self.turns = {}
        self.threads = []

    def add(self, what, *arguments):
        def go():
            while not self.done.is_set():
                try:
                    what(*arguments)
                except Exception as e:  # pylint: disable=broad-except
                    self.trouble.append((what.__name__, repr(e)))
                    return
                self.turns[what.__name__] = self.turns.get(what.__name__, 0) + 1
        thread = threading.Thread(target=go)
        self.threads.append(thread)
        thread.start()

    def end(self):
        self.done.set()
        for thread in self.threads:
            thread.join()


def visitor(server, places, r):
    """Comes, does a little, goes: politely, rudely or in the middle of something.

    Each visit has a place of its own: what two clients (or one that has gone, and left
    requests behind) do to the same bytes at the same time is their affair, but a data race.
    """
    with contextlib.suppress(Ended, OSError, AssertionError):
        c = Nbd(r.choice((server.port, server.unix)))
        if r.randrange(4) == 0:
            c.option(LIST)
            c.option(INFO, info_data('', INFO_NAME))
        c.go(r.choice(('', 'guests')), structured=r.randrange(2) == 0)
        place = next(places) * MIB
        c.send(*[c.request_bytes(READ, place + r.randrange(240) * 4096, 65536, cookie=n)
                 for n in range(r.randrange(40))])
        c.send(c.request_bytes(WRITE, place, MIB), bytes(r.randrange(MIB)))
        r.choice((c.close, c.vanish))()


def looker(server):
    for words in (('list',), ('stat',), ('stat', 'default'), ('who',), ('show', 'config')):
        assert memctl(server, '--json', *words).returncode == 0


def changer(server, r):
    """The export of the visitors is dropped under them, made again, changed."""
    memctl(server, 'drop', 'guests', '--force')
    memctl(server, 'create', 'guests', '256M')
    memctl(server, 'resize', 'guests', r.choice(('128M', '64M', '512M')))
    memctl(server, 'kick', str(r.randrange(LOADS + 20, 5000)))
    memctl(server, 'log-level', r.choice(('info', 'debug', 'warning')))


def test(tap):
    with Memserver('--export', '256M', '--export', 'guests=256M', '--threads', '3') as server:
        crowd = Crowd()
        loads = [Load(n * CLIENT_BLOCKS, CLIENT_BLOCKS, n + 1) for n in range(LOADS)]
        ends = {}

        def one(n):
            try:
                with Nbd(server.port if n % 2 else server.unix) as c:
                    c.go('default', structured=n % 3 == 0)
                    loads[n].run(c, REQUESTS, depth=24)
            except Exception as e:  # pylint: disable=broad-except
                ends[n] = repr(e)

        threads = [threading.Thread(target=one, args=(n,)) for n in range(LOADS)]
        for t in threads:
            t.start()
        for seed in range(3):
            crowd.add(visitor, server, itertools.cycle(range(8 + seed, 256, 3)), random.Random(seed))
        crowd.add(looker, server)
        crowd.add(changer, server, random.Random(7))
        for t in threads:
            t.join()
        crowd.end()
        tap.say(f'{sum(x.acknowledged for x in loads)} requests; beside them {crowd.turns}')
        tap.equal(ends, {}, 'what each client wrote it reads, whatever the others do')
        tap.equal(crowd.trouble, [], 'and whoever looks and changes is answered')
        with Nbd(server.port) as c:
            c.go()
            with tap.point('in the end all is as written'):
                for load in loads:
                    load.verify(c)
            c.trim(0, 256 * MIB)
        tap.ok(server.wait_stored(0), 'and all is given back')
        tap.ok(server.alive(), 'it lives', server.log()[-2000:])
        tap.equal(server.stop(), 0, 'it ends in good order')
        tap.equal(server.complaints(), '', 'and its sanitizer is silent')


main(test)
