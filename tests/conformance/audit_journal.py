#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""--audit journal: what administrators do arrives where journald listens, as journald wants it.

Runs in a mount namespace of its own, so that the socket of /run/systemd/journal is the test's;
needs root. The datagrams are systemd's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).
"""
import json
import os
import socket
import struct
import subprocess
import sys
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)) + '/..')
# pylint: disable=wrong-import-position
from libserve import B, LONG, Memserver, main

FOLDER = '/run/systemd/journal'


def entry(raw):
    """A datagram's fields; a value with newlines comes with its length before it."""
    fields = {}
    while raw:
        line, _, raw = raw.partition(b'\n')
        key, equals, value = line.partition(b'=')
        if not equals:
            length = struct.unpack('<Q', raw[:8])[0]
            value, raw = raw[8:8 + length], raw[9 + length:]
        fields[key.decode()] = value.decode()
    return fields


def memctl(server, *words):
    return subprocess.run([B + '/memctl', '-s', server.control, *words], capture_output=True,
                          text=True, timeout=LONG, check=False)


def test(tap):
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.settimeout(LONG)
    with Memserver('--export', 'a=16M', '--audit', 'journal', start=False) as server:
        try:
            server.start()
        except RuntimeError:
            pass
        tap.ok('--audit journal: no journal here' in server.log() and not server.alive(),
               'without a journal it does not start', server.log()[-400:])
        os.makedirs(FOLDER)
        journal.bind(FOLDER + '/socket')
        server.start()
        memctl(server, 'create', 'b', '4M')
        memctl(server, 'create', 'b', '4M')
        memctl(server, 'list')
        memctl(server, 'drop', 'a')
        made, again, dropped = (entry(journal.recv(1 << 16)) for _ in range(3))
        told = [json.loads(e['MEMSERVER_AUDIT']) for e in (made, again, dropped)]
        tap.equal([(t['what'], t['arguments'].get('name'), t['result']) for t in told],
                  [('create', 'b', 'done'), ('create', 'b', 'refused'), ('drop', 'a', 'done')],
                  'changes and refusals are entries, looks are not')
        tap.equal([(e['PRIORITY'], e['SYSLOG_FACILITY'], e['SYSLOG_IDENTIFIER'])
                   for e in (made, again)], [('5', '10', 'memserver'), ('4', '10', 'memserver')],
                  'with priority, facility authpriv and our name')
        tap.ok(made['MESSAGE'].startswith('uid 0 pid ') and
               made['MESSAGE'].endswith('(admin): create: done'), 'and words for people', made)
        tap.equal(server.complaints(), '', 'no sanitizer complains')


if os.geteuid() != 0:
    print('1..0 # skip needs root')
elif 'REMEM_OWN_RUN' not in os.environ:
    os.execvpe('unshare', ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs run /run && exec "$@"', 'sh',
                           sys.executable, __file__], dict(os.environ, REMEM_OWN_RUN='1'))
else:
    main(test)
