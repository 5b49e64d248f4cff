#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 200
"""Limits of exports and of clients: who is at one gets no more than that, whatever it tries,
and everybody else goes on. What a limit allows is an upper bound at any load, so that is what
is asserted, and counts of operations; never that something is fast."""
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request

TESTS = os.path.dirname(os.path.realpath(__file__)) + '/..'
sys.path[:0] = [TESTS, TESTS + '/hostile']
import libnvme  # noqa: E402
from libnbdraw import Ended, Nbd, READ, TRIM, WRITE  # noqa: E402
from libserve import B, LONG, Memserver, free_port, main, wait  # noqa: E402

MIB = 1 << 20
LIMIT = 20  # operations a second
BURST = 3   # more than what may be taken ahead at such a rate, for each connection


class Load:
    """A client that reads as fast as it may, `depth` requests at a time a connection."""

    def __init__(self, port, export, conns=1, source='127.0.0.1', size=4096, depth=8):
        self.begun, self.done, self.ending = time.monotonic(), 0, False
        self.errors, self.depth, self.size = [], depth, size
        self.conns = [Nbd(port, source=source) for _ in range(conns)]
        self.lock = threading.Lock()
        for c in self.conns:
            c.go(export)
        self.threads = [threading.Thread(target=self.run, args=(c,)) for c in self.conns]
        for t in self.threads:
            t.start()

    def run(self, c):
        try:
            for _ in range(self.depth):
                c.post(READ, 0, self.size)
            while not self.ending:
                if c.reply(self.size).error:
                    raise ValueError('a read failed')
                with self.lock:
                    self.done += 1
                c.post(READ, 0, self.size)
        except (Ended, OSError, ValueError) as e:
            if not self.ending:
                self.errors.append(repr(e))

    def allowed(self, rate):
        """What a limit of so many operations a second lets it have had by now."""
        return rate * (time.monotonic() - self.begun) + BURST * len(self.conns)

    def stop(self):
        self.ending = True
        for c in self.conns:
            c.s.shutdown(2)
        for t in self.threads:
            t.join()
        for c in self.conns:
            c.close()
        return self.done


def memctl(server, *words):
    return subprocess.run([B + '/memctl', '-s', server.control, *words], capture_output=True,
                          text=True, timeout=LONG, check=False)


def stat(server, name):
    return json.loads(memctl(server, '--json', 'stat', name).stdout)['exports'][0]


def read_many(port, export, n, **options):
    with Nbd(port, **options) as c:
        c.go(export)
        for i in range(n):
            c.read(i % 16 * 4096, 4096)


def exports(tap, server):
    load = Load(server.port, 'slow', conns=3)
    wait(lambda: load.done > 2 * BURST)
    cpu, begun = server.cpu(), time.monotonic()
    wait(lambda: stat(server, 'slow')['pauses'] > 10)
    wait(lambda: time.monotonic() - begun > 1)
    cpu, passed = server.cpu() - cpu, time.monotonic() - begun
    tap.ok(cpu < passed / 2, 'a client that is held costs no CPU', f'{cpu} of {passed} s')
    read_many(server.port, 'fast', 2000)
    others, done = 2000, load.done
    bound = load.allowed(LIMIT)
    tap.ok(0 < done <= bound, 'NBD: an export gets no more operations than its limit',
           f'{done}, the bound is {bound}')
    tap.ok(done < others, "NBD: another export's client goes on meanwhile", f'{done} of {others}')
    load.stop()
    tap.equal(load.errors, [], 'NBD: nothing fails for being over a limit')
    slow, fast = stat(server, 'slow'), stat(server, 'fast')
    tap.ok(slow['pauses'] > 0 and slow['paused_ns'] > 0, 'stat counts the pauses', slow)
    tap.equal(fast['pauses'], 0, 'and none for the other')
    tap.equal((slow['iops'], slow['bandwidth'], fast['iops']), (LIMIT, None, None),
              'stat tells the limits')


def nvme(tap, server, port):
    begun = time.monotonic()
    with libnvme.Controller(port, 2, sub=libnvme.subnqn('slow')) as c, \
            libnvme.Controller(port, 1, sub=libnvme.subnqn('fast')) as other:
        posted = []
        for q in c.io:
            for _ in range(20):
                posted.append(q.cmd(libnvme.sqe(2, q.next_cid(), q.nsid, cdw10=0, cdw12=0,
                                                sgl_=libnvme.sgl(0x5a, 4096))))
        status, _ = c.admin.identify(1)
        tap.equal(status.status, 0, 'NVMe: admin commands are not held')
        for i in range(200):
            status, _ = other.io[0].read(i, 1)
            assert status.status == 0
        tap.ok(True, "NVMe: another export's host goes on")
        for q in c.io:
            for _ in range(20):
                status, data = q.answer()
                assert status.status == 0 and len(data) == 4096
        passed = time.monotonic() - begun
        least = (40 - 2 * BURST) / LIMIT
        tap.ok(passed >= least, 'NVMe: 40 reads take as long as the limit says',
               f'{passed} s, at least {least}')


def bandwidth(tap, server):
    blocks = [os.urandom(MIB // 4) for _ in range(12)]
    begun = time.monotonic()
    with Nbd(server.port) as c:
        c.go('narrow')
        for i, block in enumerate(blocks):
            c.post(WRITE, i * len(block), data=block)
        for _ in blocks:
            assert not c.reply().error
        passed = time.monotonic() - begun
        tap.ok(passed >= 2.5, '3 MiB at 1 MiB a second take their time', f'{passed} s')
        for i, block in enumerate(blocks[:4]):
            assert c.read(i * len(block), len(block)) == block
        tap.ok(True, 'and are what they were')
        assert c.call(READ, 0, 0xfffff000).error
        c.read(0, 4096)
        tap.ok(True, 'a request that is refused for its length holds nobody')
        done = memctl(server, 'limit', 'narrow', '--bandwidth', 'none')
        tap.equal(done.returncode, 0, 'the limit is taken away')
        for _ in range(300):  # at 1 MiB a second: 75 s
            c.read(0, MIB // 4)
        tap.ok(True, 'and is gone at once, for those connected')
    with Nbd(server.port) as c:
        c.go('owing')
        begun = time.monotonic()
        c.read(0, 32 * MIB)  # on credit, for half a minute
        c.post(READ, 0, 4096)
        memctl(server, 'limit', 'owing', '--bandwidth', 'none')
        c.reply(4096)
        passed = time.monotonic() - begun
        tap.ok(passed < 25, 'for one that has to wait because of it, too', f'{passed} s')


def clients(tap):
    with Memserver('--export', '16M', '--export', 'more=16M', '--client-iops', str(LIMIT)) as server:
        many = Load(server.port, 'default', conns=4, source='127.0.0.2')
        elsewhere = Load(server.port, 'more', conns=2, source='127.0.0.2')
        one = Load(server.port, 'default', source='127.0.0.3')
        wait(lambda: one.done >= 3 * LIMIT)
        both, bound = many.done + elsewhere.done, many.allowed(LIMIT) + 2 * BURST
        tap.ok(0 < both <= bound, "a client's connections and exports share its limit",
               f'{both}, the bound is {bound}')
        tap.ok(one.done <= one.allowed(LIMIT), 'another client has a limit of its own')
        tap.ok(one.done > both / 4, 'which many connections do not take from it',
               f'{one.done} and {both}')
        tap.equal(memctl(server, 'limit', '--clients', '--iops', '0').returncode, 0,
                  "the clients' limit is taken away")
        before = many.done
        tap.ok(wait(lambda: many.done > before + 3000), 'and they go on without',
               f'{many.done - before}')
        for load in (many, elsewhere, one):
            load.stop()
            tap.equal(load.errors, [], 'nothing failed')

        memctl(server, 'limit', '--clients', '--bandwidth', '1M')
        begun = time.monotonic()
        with Nbd(server.port) as c:
            c.go('')
            c.read(0, 3 * MIB)
        read_many(server.port, '', 1)
        passed = time.monotonic() - begun
        tap.ok(passed >= 2.5, 'to come again forgives nothing', f'{passed} s')
        said = memctl(server, 'stat').stdout
        tap.ok('each client may take 1.00M/s' in said or 'each client may take 1M/s' in said,
               'stat says what clients may take', said)


ENOSPC = 28


def stored(server, key='client_memory'):
    """How much each client holds, as memserver counts it."""
    said = json.loads(memctl(server, '--json', 'stat').stdout)
    return {o['client']: o['held'] for o in said[key]}


def client_quota(tap):
    ones, others = '127.0.0.2', '127.0.0.3'
    megabyte = os.urandom(MIB)

    def write(c, first, count):
        """MiB by MiB; the errors met."""
        return [c.call(WRITE, (first + i) * MIB, MIB, megabyte).error for i in range(count)]

    with Memserver('--export', 'a=16M', '--export', 'b=16M', '--export', 'c=16M',
                   '--client-quota', '8M') as server:
        a, b, c = (Nbd(server.port, source=s) for s in (ones, ones, others))
        a.go('a'), b.go('b'), c.go('c')
        tap.equal(write(a, 0, 5) + write(b, 0, 3), [0] * 8, 'a client may fill its quota')
        tap.equal(write(b, 3, 1) + write(a, 5, 1), [ENOSPC] * 2, 'and gets no more, in no export')
        tap.equal(write(a, 0, 5), [0] * 5, 'what it has stored it may write again')
        tap.equal(write(c, 0, 8), [0] * 8, 'another client has a quota of its own')
        tap.equal(stored(server), {ones: 8 * MIB, others: 8 * MIB}, 'memctl says who holds what')
        tap.equal(a.call(TRIM, 0, MIB).error, 0, 'trimmed')
        tap.equal(write(b, 3, 2), [0, ENOSPC], 'a trim gives back, for any export')
        for conn in (a, b):
            conn.close()
        with Nbd(server.port, source=ones) as again:
            again.go('b')
            tap.equal(write(again, 5, 1), [ENOSPC], 'to come again forgives nothing')
        with Nbd(server.port, source=ones) as mine, Nbd(server.port, source=others) as guest:
            mine.go('b'), guest.go('b')
            tap.equal(guest.call(TRIM, 0, MIB).error, 0, "another client of one's export")
            tap.equal(write(mine, 0, 1), [0], 'trims for its owner')
            tap.equal(stored(server), {ones: 8 * MIB, others: 8 * MIB}, 'who stays its owner')
        wait(lambda: not stat(server, 'a')['users'])
        with Nbd(server.port, source=others) as heir:
            heir.go('a')
            tap.equal(stored(server), {ones: 4 * MIB, others: 12 * MIB},
                      'the memory of an export is that of who uses it alone')
            tap.equal(write(heir, 0, 1), [ENOSPC], 'who is over the quota gets no more')
            tap.equal(heir.read(MIB, MIB), megabyte, 'and loses nothing')
            memctl(server, 'limit', '--clients', '--quota', '16M')
            tap.equal(write(heir, 0, 1), [0], 'the quota is changed while it serves')
        said = memctl(server, 'stat').stdout
        tap.ok('each client may hold 16M of memory' in said and f'client {ones} holds 4M' in said,
               'stat says so', said)
        c.close()
        server.stop(9)
        server.start()
        tap.equal(stored(server), {}, 'after a crash memory is nobody\'s')
        with Nbd(server.port, source=ones) as back:
            back.go('c')
            tap.equal(stored(server), {ones: 8 * MIB}, 'until its client is back')
            tap.equal(write(back, 8, 1), [ENOSPC], 'and counts')
        memctl(server, 'limit', '--clients', '--quota', 'none')
        wait(lambda: not stat(server, 'c')['users'])
        tap.equal(memctl(server, 'drop', 'c').returncode, 0, 'dropped')
        tap.ok(wait(lambda: stored(server) == {}), 'a dropped export holds nothing')
        tap.equal(server.complaints(), '', 'no sanitizer complains')


def told(tap, server, metrics):
    def refused(words, pattern):
        r = memctl(server, *words)
        tap.ok(r.returncode and pattern in r.stderr, 'refused: ' + ' '.join(words), r)

    refused(('limit', 'slow', '--iops', '9'), '10 or more')
    refused(('limit', 'slow', '--bandwidth', '1000'), '1M or more')
    refused(('limit', 'slow', '--iops', 'x'), 'neither a number nor none')
    refused(('limit', 'nosuch', '--iops', '10'), 'no export')
    refused(('limit', 'slow'), 'say whose')
    refused(('limit', '--iops', '10'), 'say whose')
    refused(('list', '--iops', '10'), 'takes no limits')
    with urllib.request.urlopen(f'http://127.0.0.1:{metrics}/metrics', timeout=LONG) as answer:
        text = answer.read().decode()
    for line in (f'memserver_export_limit_requests_per_second{{export="slow"}} {LIMIT}\n',
                 'memserver_pauses_total{export="fast"} 0\n',
                 'memserver_paused_seconds_total{export="slow"} '):
        tap.ok(line in text, 'metrics: ' + line.strip(), text)
    tap.ok('memserver_pauses_total{export="slow"} 0\n' not in text, 'metrics count its pauses')
    memctl(server, 'limit', 'fast', '--bandwidth', '64M', '--iops', '5000')
    memctl(server, 'resize', 'fast', '24M')
    server.stop(9)
    server.start()
    fast = stat(server, 'fast')
    tap.equal((fast['bandwidth'], fast['iops']), (64 * MIB, 5000),
              'limits outlive a resize and a crash')


def command_line(tap):
    for flags, pattern in ((('--export', '16M,iops=5'), '10 or more'),
                           (('--export', '16M,bandwidth=1k'), '1M or more'),
                           (('--export', '16M,iops=5x'), 'not a number'),
                           (('--export', '16M,speed=5'), 'may follow'),
                           (('--export', '16M', '--client-iops', '1'), '10 or more'),
                           (('--export', '16M', '--client-iops', '100', '--iscsi'),
                            'tgtd knows none'),
                           (('--export', '16M', '--client-quota', '8M', '--iscsi'),
                            'tgtd knows none'),
                           (('--export', '16M', '--client-quota', 'much'), 'not a size')):
        r = subprocess.run([B + '/memserver', '-n', *flags], capture_output=True, text=True,
                           timeout=LONG, check=False)
        tap.ok(r.returncode == 2 and pattern in r.stderr, 'refused: ' + ' '.join(flags), r)
    r = subprocess.run([B + '/memserver', '-n', '--export', 'a=16M,quota=1M,bandwidth=2M,iops=30',
                        '--client-bandwidth', '1G'], capture_output=True, text=True,
                       timeout=LONG, check=False)
    tap.equal(r.returncode, 0, 'quota, bandwidth and iops of an export')


def test(tap):
    command_line(tap)
    nvme_port, metrics = free_port(), free_port()
    with Memserver('--export', f'slow=16M,iops={LIMIT}', '--export', 'fast=16M', '--export',
                   'narrow=16M,bandwidth=1M', '--export', 'owing=32M,bandwidth=1M', '--nvme', f'127.0.0.1:{nvme_port}',
                   '--metrics', f'127.0.0.1:{metrics}') as server:
        exports(tap, server)
        nvme(tap, server, nvme_port)
        bandwidth(tap, server)
        told(tap, server, metrics)
        tap.equal(server.complaints(), '', 'no sanitizer complains')
    clients(tap)
    client_quota(tap)


main(test)
