#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# flavour: plain
"""memserver's own memory: what a request runs through is locked and never faults, even when
the host has thrown out all it may; what only starting needed is not kept."""
import ctypes
import os
import re
import subprocess
import sys
import nbd

sys.path[:0] = [os.path.dirname(os.path.realpath(__file__)) + '/..']
from libserve import TOP, Memserver, main  # noqa: E402  pylint: disable=wrong-import-position

MIB = 1 << 20
SPAN = 8 * MIB
PROMISE = 4.13 * MIB  # of docs/performance.md: 4 MiB, and 0.1 % of the 128 MiB stored there
ROUNDS = 5
PROCESS_MADVISE, PAGEOUT = 440, 21
libc = ctypes.CDLL(None, use_errno=True)


class Mapping:
    def __init__(self, line):
        self.range, self.perms, _, _, _, *name = line.split(None, 5)
        self.start, self.end = (int(n, 16) for n in self.range.split('-'))
        self.path = name[0].strip() if name else ''
        self.name = os.path.basename(self.path)
        self.kib, self.flags = {}, []

    def __str__(self):
        return f'{self.range} {self.perms} {self.name} {" ".join(self.flags)}'


def mappings(pid):
    """All but what nobody can touch and what is the kernel's."""
    found = []
    with open(f'/proc/{pid}/smaps') as smaps:
        for line in smaps:
            key, _, rest = line.partition(':')
            if re.match(r'[0-9a-f]+-', line):
                found.append(Mapping(line))
            elif key == 'VmFlags':
                found[-1].flags = rest.split()
            elif rest.endswith('kB\n'):
                found[-1].kib[key] = int(rest.split()[0])
    return [m for m in found if m.perms[:3] != '---' and not m.name.startswith('[v')]


def libraries(pid, *names):
    return [m for m in mappings(pid) if any(m.name.startswith(n) for n in names)]


def faults(pid):
    """Minor and major, of the serving threads."""
    minor = major = 0
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/stat') as stat:
            name, _, fields = stat.read().partition('(')[2].rpartition(') ')
        if name.startswith('serve/'):
            minor += int(fields.split()[7])
            major += int(fields.split()[9])
    return minor, major


def throw_out(pid):
    """All pages of a process that may go, as under the worst of pressure."""
    class Iovec(ctypes.Structure):
        _fields_ = [('base', ctypes.c_void_p), ('len', ctypes.c_size_t)]
    fd = os.pidfd_open(pid)
    for m in mappings(pid):
        part = Iovec(m.start, m.end - m.start)
        # Of locked memory the kernel says EINVAL: that is what should be.
        libc.syscall(PROCESS_MADVISE, fd, ctypes.byref(part), 1, PAGEOUT, 0)
    os.close(fd)


def load(client):
    data = os.urandom(65536)
    for offset in range(0, SPAN, len(data)):
        client.pwrite(data, offset)
        if client.pread(len(data), offset) != data:
            raise ValueError(f'other bytes at {offset}')
    for offset in range(0, SPAN, 40960):
        client.pwrite(data[:4096], offset)
        client.pread(4096, offset)


def never_faults(tap, server, uri, how):
    client = nbd.NBD()
    client.set_uri_allow_local_file(True)
    client.connect_uri(uri)
    load(client)  # takes the memory that is lent
    rounds = []
    for _ in range(ROUNDS):
        throw_out(server.pid)
        before = faults(server.pid)
        load(client)
        rounds.append(tuple(b - a for a, b in zip(before, faults(server.pid))))
    client.shutdown()
    tap.equal([r[1] for r in rounds], [0] * ROUNDS,
              f'{how}: serving waits for no disk after all that may has left memory')
    # The kernel moves pages now and then, which looks like a fault; ours come every time.
    tap.ok((0, 0) in rounds, f'{how}: nor does it fault at all', rounds)


def is_locked(tap, server, also, sentence):
    """All but the constants and code of libraries, and `also` some of those."""
    keep = ('memserver', 'libc.so', 'ld-linux', *also)
    loose = [m for m in mappings(server.pid) if 'lo' not in m.flags and
             ('w' in m.perms or m.name.startswith(keep) or not m.path.startswith('/'))]
    tap.ok(not loose, sentence, *loose[:8])


def plain(tap):
    with Memserver('--export', '16M', '--threads', '2') as server:
        is_locked(tap, server, (), 'what requests run through is locked')
        tap.ok(not [m for m in libraries(server.pid, 'libcrypto', 'libgnutls')
                    if not m.kib['Anonymous'] and 'w' not in m.perms and 'lo' in m.flags],
               'code of libraries that none runs through is not')
        never_faults(tap, server, f'nbd://127.0.0.1:{server.port}', 'NBD')
        # As if nobody shared a page with it, but for libc and ld.so, which everybody does.
        own = server.rss() - 1024 * sum(
            m.kib['Rss'] - m.kib['Anonymous'] for m in libraries(server.pid, 'libc.so', 'ld-linux'))
        tap.ok(own <= PROMISE, f'its own memory is at most {PROMISE / MIB:.2f} MiB', own / MIB)


def encrypted(tap):
    server = Memserver('--export', '16M', '--threads', '2', start=False)
    pki = server.dir + '/pki'
    subprocess.run([TOP + '/tests/make-pki', pki], check=True)
    server.flags += ['--tls-cert', pki + '/server-cert.pem', '--tls-key', pki + '/server-key.pem']
    with server.start():
        is_locked(tap, server, ('libssl', 'libcrypto'), 'with TLS so is OpenSSL')
        never_faults(tap, server, f'nbds://localhost:{server.port}?tls-certificates={pki}/alice',
                     'NBD with TLS')


def everything(tap):
    if os.geteuid() != 0:
        tap.skip('own memory', "locking it and paging out another's needs root")
        return
    plain(tap)
    encrypted(tap)


main(everything)
