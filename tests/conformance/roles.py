#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Roles at the control socket by group, and the audit log. Needs root, to be somebody else."""
import json
import os
import stat
import subprocess
import sys
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)) + '/..')
# pylint: disable=wrong-import-position
from libserve import B, Memserver, main

ADMIN, OPERATOR, VIEWER = 'adm', 'operator', 'games'  # groups that every Debian has
NOBODY = 65534


def memctl(server, *words, group=None, primary=None):
    """As root, or as nobody with one supplementary (or primary) group."""
    argv = [B + '/memctl', '-s', server.control, *words]
    if group or primary:
        argv = ['setpriv', f'--reuid={NOBODY}', f'--regid={primary or NOBODY}',
                f'--groups={group}' if group != '-' else '--clear-groups', *argv]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def lines(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def may(tap, server, sentence, *words, **who):
    status, said = memctl(server, *words, **who)
    tap.ok(status == 0, sentence, said)


def may_not(tap, server, sentence, *words, **who):
    status, said = memctl(server, *words, **who)
    tap.ok(status == 1 and 'it takes the role' in said, sentence, said)


def by_group(tap, server):
    may(tap, server, 'root may do all', 'log-level', 'info')
    may(tap, server, 'a viewer looks', 'list', group=VIEWER)
    may(tap, server, '... at the configuration too', 'show', 'config', group=VIEWER)
    may(tap, server, '... and at the log level', 'log-level', group=VIEWER)
    may_not(tap, server, '... but sets none', 'log-level', 'debug', group=VIEWER)
    may_not(tap, server, '... and makes no export', 'create', 'x', '1M', group=VIEWER)
    may(tap, server, 'an operator makes exports', 'create', 'x', '1M', group=OPERATOR)
    may(tap, server, '... by a primary group as well', 'resize', 'x', '2M', group='-', primary=OPERATOR)
    may_not(tap, server, '... but arms no faults', 'fault', 'conn.recv=EIO', group=OPERATOR)
    may_not(tap, server, '... and reads no keys again', 'reload', group=OPERATOR)
    may(tap, server, 'an administrator does', 'reload', group=ADMIN)
    may_not(tap, server, 'who is in no group may not even look', 'list', group='-')
    may(tap, server, 'an operator drops exports', 'drop', 'x', group=OPERATOR)


def audited(tap, server, path):
    told = lines(path)
    tap.equal(stat.S_IMODE(os.stat(path).st_mode), 0o600, 'the audit log is for its owner')
    tap.ok(all(set(('time', 'who', 'role', 'what', 'arguments', 'result')) <= set(line)
               for line in told), 'each line says who, what and what came of it', told)
    create = [line for line in told if line['what'] == 'create']
    tap.equal([(line['role'], line['result']) for line in create],
              [('viewer', 'refused'), ('operator', 'done')], 'what was refused is there too')
    tap.ok(create[1]['arguments'] == {'name': 'x', 'size': 1 << 20} and
           create[1]['who'].startswith(f'uid {NOBODY} pid '), '... with its arguments', create[1])
    tap.ok(not any(line['what'] == 'show-config' for line in told), 'who only looks is not')
    tap.ok(any(line['what'] == 'list' and line['role'] == 'nobody' for line in told),
           '... but who may not look is')
    os.rename(path, path + '.1')
    may(tap, server, 'a reload begins a new file', 'reload')
    may(tap, server, '... after logrotate', 'create', 'y', '1M')
    tap.equal([line['what'] for line in lines(path)][-1], 'create', '... and it goes on there')


def test(tap):
    server = Memserver('--export', '16M', '--admin-group', ADMIN, '--operator-group', OPERATOR,
                       '--viewer-group', VIEWER, start=False)
    os.chmod(server.dir, 0o755)
    path = server.dir + '/audit'
    server.flags += ['--audit', path]
    server.start()
    by_group(tap, server)
    audited(tap, server, path)
    tap.equal(server.complaints(), '', 'no sanitizer complains')
    server.stop()
    plain = Memserver('--export', '16M')
    os.chmod(plain.dir, 0o755)
    status, said = memctl(plain, 'list', group=VIEWER)
    tap.ok(status == 1 and 'ermission denied' in said, 'without groups the socket is not for others',
           said)
    plain.stop()
    try:
        Memserver('--export', '16M', '--admin-group', 'no-such-group')
        tap.ok(False, 'a group that is not there is told of')
    except RuntimeError as e:
        tap.ok("no group 'no-such-group'" in str(e), 'a group that is not there is told of', e)


main(test)
