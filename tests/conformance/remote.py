#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# flavour: plain
"""Administration over the network: TLS, and users by PAM (pam_wrapper's, with modules that hang,
crash or say no). Needs root: groups are the system's."""
import json
import os
import re
import socket
import ssl
import subprocess
import sys
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)) + '/..')
# pylint: disable=wrong-import-position
from libserve import B, TOP, Memserver, children, main, wait

MATRIX = '/usr/lib/x86_64-linux-gnu/pam_wrapper/pam_matrix.so'
MODULE = r'''
#include <security/pam_modules.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
int pam_sm_authenticate(pam_handle_t *h, int flags, int argc, const char **argv)
{
	const char *user = "";
	pam_get_user(h, &user, 0);
	if (!strcmp(user, "sync")) { signal(SIGALRM, SIG_IGN); signal(SIGTERM, SIG_IGN); for (;;) pause(); }
	if (!strcmp(user, "lp")) *(volatile int *)0 = 1;
	if (!strcmp(user, "mail")) write(1, "3\nadmin, really", 14), _exit(0);
	return PAM_IGNORE;
}
int pam_sm_setcred(pam_handle_t *h, int flags, int argc, const char **argv) { return PAM_IGNORE; }
int pam_sm_acct_mgmt(pam_handle_t *h, int flags, int argc, const char **argv)
{
	const char *user = "";
	pam_get_user(h, &user, 0);
	if (!strcmp(user, "news")) return PAM_ACCT_EXPIRED;
	if (!strcmp(user, "uucp")) return PAM_NEW_AUTHTOK_REQD;
	return PAM_IGNORE;
}
'''
# Debian's own users: bin is in group bin, and so on; all with the same password.
USERS = ('root', 'bin', 'games', 'man', 'backup', 'news', 'uucp', 'sync', 'lp', 'mail')
PASSWORD = 'correct horse'


def world():
    server = Memserver('--export', '16M', '--remote', '127.0.0.1:0', '--operator-group', 'bin',
                       '--viewer-group', 'games', '--admin-group', 'backup', '--metrics',
                       '127.0.0.1:0', start=False)
    d = server.dir
    os.makedirs(d + '/pam')
    with open(d + '/module.c', 'w') as file:
        file.write(MODULE)
    subprocess.run(['gcc', '-shared', '-fPIC', '-w', '-o', d + '/pam_test.so', d + '/module.c', '-lpam'],
                   check=True)
    with open(d + '/passdb', 'w') as file:
        file.writelines(f'{user}:{PASSWORD}:memserver\n' for user in USERS)
    with open(d + '/pam/memserver', 'w') as file:
        file.write(f'auth required {d}/pam_test.so\nauth required {MATRIX} passdb={d}/passdb\n'
                   f'account required {d}/pam_test.so\naccount required {MATRIX} passdb={d}/passdb\n')
    for name, text in (('right', PASSWORD), ('wrong', 'battery staple')):
        with open(f'{d}/{name}', 'w') as file:
            os.chmod(f'{d}/{name}', 0o600)
            file.write(text + '\n')
    subprocess.run([TOP + '/tests/make-pki', d + '/pki'], check=True)
    server.flags += ['--tls-cert', d + '/pki/server-cert.pem', '--tls-key', d + '/pki/server-key.pem',
                     '--audit', d + '/audit']
    server.env.update(LD_PRELOAD='libpam_wrapper.so', PAM_WRAPPER='1',
                      PAM_WRAPPER_SERVICE_DIR=d + '/pam', PAM_WRAPPER_DISABLE_DEEPBIND='1')
    return server


def start(server):
    server.start()
    wait(lambda: 'remote control on' in server.log() and 'metrics on' in server.log())
    server.remote = int(re.findall(r'remote control on 127\.0\.0\.1:(\d+)', server.log())[-1])


def memctl(server, user, password, *words, host='localhost', ca='ca-cert.pem'):
    done = subprocess.run([B + '/memctl', '-H', f'{host}:{server.remote}', '--ca',
                           f'{server.dir}/pki/{ca}', '--user', user, '--password-file',
                           f'{server.dir}/{password}', *words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


class Line:
    """A raw client: lines of JSON over TLS."""

    def __init__(self, server):
        c = ssl.create_default_context(cafile=server.dir + '/pki/ca-cert.pem')
        self.s = c.wrap_socket(socket.create_connection(('127.0.0.1', server.remote), timeout=60),
                               server_hostname='localhost')
        self.file = self.s.makefile('rwb')

    def send(self, **req):
        self.file.write(json.dumps(req).encode() + b'\n')
        self.file.flush()

    def call(self, **req):
        self.send(**req)
        return json.loads(self.file.readline() or b'{"ok": null}')

    def close(self):
        self.file.close()
        self.s.close()


def logins(server, result):
    url = server.log().split('metrics on ')[-1].split()[0]
    text = subprocess.run(['curl', '-s', url], capture_output=True, text=True, check=True).stdout
    return int(text.split(f'logins_total{{result="{result}"}} ')[1].split()[0])


def by_role(tap, server):
    status, said = memctl(server, 'games', 'right', 'list')
    tap.ok(status == 0 and 'default' in said, 'a viewer logs in and looks', said)
    status, said = memctl(server, 'games', 'right', 'create', 'x', '1M')
    tap.ok(status == 1 and 'it takes the role operator' in said, '... and makes nothing', said)
    status, said = memctl(server, 'bin', 'right', 'create', 'x', '1M')
    tap.equal(status, 0, 'an operator makes an export')
    status, said = memctl(server, 'bin', 'right', 'reload')
    tap.ok(status == 1 and 'it takes the role admin' in said, '... and is no administrator', said)
    for user in ('root', 'backup'):
        status, said = memctl(server, user, 'right', 'reload')
        tap.equal((status, said), (0, ''), f'{user} is')


def refused(tap, server):
    for user, password, why in (
            ('bin', 'wrong', 'wrong user or password'), ('no-such-user', 'right', 'wrong user or password'),
            ('man', 'right', 'none of the groups for roles')):
        status, said = memctl(server, user, password, 'list')
        tap.ok(status == 1 and why in said, f'{user} with the {password} password is refused: {why}', said)
    restart(server)
    for user, why in (('news', 'the account has expired'), ('uucp', 'the password has expired'),
                      ('lp', 'ended without an answer')):
        status, said = memctl(server, user, 'right', 'list')
        tap.ok(status == 1 and why in said, f'{user} is refused: {why}', said)
    status, said = memctl(server, 'bin', 'right', 'list', ca='other-ca-cert.pem')
    tap.ok(status == 1 and 'its certificate' in said, 'a server nobody vouches for gets no password', said)
    status, said = memctl(server, 'bin', 'right', 'list', host='127.0.0.1')
    tap.equal(status, 0, "an address is fine where the certificate has it")
    os.chmod(server.dir + '/right', 0o644)
    status, said = memctl(server, 'bin', 'right', 'list')
    os.chmod(server.dir + '/right', 0o600)
    tap.ok(status == 1 and 'chmod 600' in said, 'a password file that others can read is not used', said)


def restart(server):
    server.stop()
    start(server)


def hanging(tap, server):
    slow = Line(server)
    slow.send(cmd='login', user='sync', password=PASSWORD)
    local = subprocess.run([B + '/memctl', '-s', server.control, 'list'], capture_output=True,
                           text=True, timeout=60, check=False)
    tap.equal(local.returncode, 0, 'while a PAM module hangs others are served')
    other = Line(server)
    tap.ok('is under way' in other.call(cmd='login', user='bin', password=PASSWORD)['error'],
           'one login at a time from each address')
    other.close()
    reply = json.loads(slow.file.readline())
    tap.ok(not reply['ok'] and 'in time' in reply['error'], 'it is killed after a time', reply)
    tap.equal(logins(server, 'timeout'), 1, '... and counted')
    helper = children(server.pid)
    tap.ok(len(helper) == 1 and wait(lambda: not children(helper[0])),
           '... and leaves no process', helper)
    slow.close()


def many(tap, server):
    """A thousand wrong passwords."""
    restart(server)
    client = Line(server)
    replies = [client.call(cmd='login', user='bin', password='guess %d' % i) for i in range(1000)]
    tap.ok(not any(r['ok'] for r in replies), 'a thousand wrong passwords open nothing')
    waits = sum('too many failed logins' in r['error'] for r in replies)
    asked = logins(server, 'failed')
    tap.ok(asked + waits == 1000 and asked < 100, 'PAM was asked a few times only',
           f'{asked} asked, {waits} made to wait')
    tap.ok('too many' in client.call(cmd='login', user='bin', password=PASSWORD)['error'],
           'then even the right one must wait')
    lines = server.log().count("login of 'bin' refused")
    tap.ok(0 < lines < 100, 'it is not logged line by line', lines)
    client.close()


def strangers(tap, server):
    restart(server)
    client = Line(server)
    for cmd in ('list', 'create', 'fault', 'show-config'):
        reply = client.call(cmd=cmd, name='z', size='1M')
        tap.ok(not reply['ok'] and 'yours is nobody' in reply['error'], f'without a login no {cmd}', reply)
    client.send(cmd='login', user='x' * 300, password='y')
    tap.ok(not json.loads(client.file.readline())['ok'], 'a name that is too long is refused')
    client.file.write(b'x' * 70000)
    client.file.flush()
    tap.ok('longer than' in json.loads(client.file.readline())['error'], 'so is a line that is too long')
    client.close()
    for noise in (b'GET / HTTP/1.0\r\n\r\n', os.urandom(500), b'\x16\x03\x01\xff\xff' + bytes(300), b''):
        with socket.create_connection(('127.0.0.1', server.remote), timeout=60) as s:
            s.sendall(noise)
            s.shutdown(socket.SHUT_WR)
            try:
                while s.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    idle = [socket.create_connection(('127.0.0.1', server.remote)) for _ in range(50)]
    status, said = memctl(server, 'games', 'right', 'list')
    tap.equal(status, 0, 'past a crowd of strangers an administrator gets in')
    gone = Line(server)
    gone.send(cmd='login', user='sync', password=PASSWORD)
    gone.close()
    for s in idle:
        s.close()
    status, said = memctl(server, 'mail', 'right', 'list')
    tap.ok(status in (0, 1) and server.alive(), 'who vanishes during a login leaves nothing behind', said)


def audited(tap, server):
    with open(server.dir + '/audit') as file:
        text = file.read()
    told = [json.loads(line) for line in text.splitlines()]
    good = [line for line in told if line['what'] == 'login' and line['result'] == 'done']
    bad = [line for line in told if line['what'] == 'login' and line['result'] == 'refused']
    tap.ok(good and bad and good[0]['who'].startswith('games@127.0.0.1:') and
           good[0]['role'] == 'viewer', 'logins are in the audit log', told[:5])
    tap.ok(any(line['what'] == 'create' and line['who'].startswith('bin@127.0.0.1:') and
               line['role'] == 'operator' for line in told), '... with what was done then')
    tap.ok(PASSWORD not in text and 'guess' not in text and PASSWORD not in server.log(),
           'passwords are nowhere')


def test(tap):
    server = world()
    start(server)
    by_role(tap, server)
    refused(tap, server)
    restart(server)
    hanging(tap, server)
    many(tap, server)
    strangers(tap, server)
    audited(tap, server)
    tap.equal(server.stop(), 0, 'it ends while a login is under way')
    server.close()


main(test)
