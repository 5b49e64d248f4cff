#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# flavour: plain
"""A memserver that root starts and that becomes another user: what it may, and that all it is
asked for later still works."""
import json
import os
import signal
import subprocess
import sys
import urllib.request

TESTS = os.path.dirname(os.path.realpath(__file__)) + '/..'
sys.path[:0] = [TESTS, TESTS + '/hostile']
from libnbdraw import Nbd, READ, WRITE  # noqa: E402  pylint: disable=wrong-import-position
from libserve import B, TOP, Memserver, children, free_port, main, wait  # noqa: E402

USER, UID = 'nobody', 65534
IPC_LOCK = 1 << 14  # kept where the limit of locked memory can't be lifted


def memctl(server, *args):
    return subprocess.run([B + '/memctl', '-s', server.control, *args], capture_output=True,
                          text=True, timeout=60, check=False)


def status(pid):
    with open(f'/proc/{pid}/status') as file:
        return dict(line.rstrip('\n').split(':\t', 1) for line in file if ':\t' in line)


def io(server, op, data=b'', length=4096):
    c = Nbd(server.port)
    c.go('default')
    c.post(op, 0, length, data)
    reply = c.reply(length if op == READ else 0)
    c.s.close()
    return reply.data if op == READ else not reply.error


def rights(tap, server):
    for task in os.listdir(f'/proc/{server.pid}/task'):
        has = status(f'{server.pid}/task/{task}')
        tap.equal((set(has['Uid'].split()), set(has['Gid'].split()), has['Groups'].strip()),
                  ({str(UID)}, {str(UID)}, ''), f"thread {has['Name']} is the user's, in no group")
        tap.ok(not int(has['CapPrm'], 16) & ~IPC_LOCK and not int(has['CapInh'], 16),
               '... without a capability but, where it must, to lock memory', has)
        tap.equal((has['NoNewPrivs'], has['Seccomp']), ('1', '2'),
                  '... no new privileges, and a filter of system calls')
    tap.ok(os.stat(f'/proc/{server.pid}/environ').st_uid == 0, "nobody else of that user's reads it")
    with urllib.request.urlopen(server.log().split('metrics on ')[1].split()[0]) as reply:
        tap.ok(b'memserver_' in reply.read(), 'metrics are served')
    said = json.loads(memctl(server, '--json', 'stat').stdout)['runs_as']
    tap.ok(said.startswith(USER + ', seccomp, Landlock') and 'runs as ' + said in server.log(),
           'log and memctl stat say what is in force', said)


def works(tap, server):
    data = os.urandom(4096)
    tap.ok(io(server, WRITE, data) and io(server, READ) == data, 'it serves')
    for args in (('resize', 'default', '32M'), ('create', 'two', '8M'), ('drop', 'two')):
        done = memctl(server, *args)
        tap.equal(done.returncode, 0, ' '.join(('memctl', *args)) or done.stderr)
    server.stop(signal.SIGKILL)
    server.start()
    tap.ok(io(server, READ) == data, 'killed and reborn it has the bytes')
    return data


def reads_again(tap, server, pki):
    """Keys are root's and nobody else may read them; the audit log is moved away."""
    audit = server.dir + '/audit'
    os.rename(audit, audit + '.1')
    os.chmod(pki + '/server-key.pem', 0o644)
    done = memctl(server, 'reload')
    tap.ok(done.returncode != 0 and 'chmod 600' in done.stderr, 'exposed keys are refused', done)
    os.chmod(pki + '/server-key.pem', 0o600)
    done = memctl(server, 'reload')
    tap.ok(done.returncode == 0, "keys that only root can read are read again", done.stderr)
    with open(audit) as file:
        tap.ok('"what":"reload"' in file.read(), 'the audit log goes on in a new file')
    tap.equal(os.stat(audit).st_mode & 0o777, 0o600, '... that nobody else reads')


def helper_dies(tap, server, data):
    helper = int(children(server.pid)[0])
    tap.equal(status(helper)['Uid'].split()[0], '0', 'the helper is root')
    os.kill(helper, signal.SIGKILL)
    done = memctl(server, 'reload')
    tap.ok(done.returncode != 0 and 'until memserver is restarted' in server.log(),
           'without its helper a reload is refused, and the log has the remedy', done)
    tap.ok(io(server, READ) == data and memctl(server, 'resize', 'default', '64M').returncode == 0,
           '... and exports are served on')
    tap.equal(server.stop(), 0, '... and it ends')
    os.unlink(server.control)
    server.start()


def ends(tap, server):
    tap.equal(server.stop(), 0, 'it ends well')
    tap.ok(not [f for f in (server.control, server.control + '.lock', server.unix)
                if os.path.exists(f)], 'and leaves no socket', os.listdir(server.dir))


def to_and_fro(tap, server, data):
    """An upgrade from a memserver that was root, and back."""
    server.flags[server.flags.index(USER)] = 'root'
    server.start()
    tap.ok(io(server, READ) == data and status(server.pid)['Uid'].split()[0] == '0',
           'as root it finds what the user stored')
    memctl(server, 'create', 'roots', '8M')
    server.stop()
    server.flags[server.flags.index('root')] = USER
    os.chown(server.pool, 0, 0)
    for name in os.listdir(server.pool):
        os.chown(f'{server.pool}/{name}', 0, 0)
    server.start()
    tap.ok(io(server, READ) == data and memctl(server, 'drop', 'roots').returncode == 0,
           "the user finds what was root's")


def wrong(tap):
    for prefix, user, why in (((), 'no-such-user', 'no such user on this host'),
                              (('setpriv', '--reuid', '65534', '--clear-groups'), 'root',
                               'only root can become another user')):
        done = subprocess.run([*prefix, B + '/memserver', '--user', user, '--export', '1M'],
                              capture_output=True, text=True, timeout=60, check=False)
        tap.ok(done.returncode == 1 and why in done.stderr, f'--user {user}: {why}', done.stderr)


def everything(tap):
    if os.geteuid() != 0:
        tap.skip('becoming another user', 'needs root')
        return
    server = Memserver('--export', '16M', '--user', USER, '--metrics', f'127.0.0.1:{free_port()}',
                       start=False)
    pki = server.dir + '/pki'
    subprocess.run([TOP + '/tests/make-pki', pki], check=True)
    server.flags += ['--tls-cert', pki + '/server-cert.pem', '--tls-key', pki + '/server-key.pem',
                     '--nbd-tls', 'offered', '--audit', server.dir + '/audit']
    with server.start():
        rights(tap, server)
        data = works(tap, server)
        reads_again(tap, server, pki)
        helper_dies(tap, server, data)
        ends(tap, server)
        to_and_fro(tap, server, data)
        tap.ok('is not on memserver' not in server.log(), 'no call was missing from the list',
               server.log())
    wrong(tap)


main(everything)
