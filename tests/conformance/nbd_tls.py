#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""NBD with TLS: libnbd's and QEMU's clients, certificates and shared keys, right and wrong."""
import os
import ssl
import subprocess
import sys
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)) + '/..')
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)) + '/../hostile')
# pylint: disable=wrong-import-position
from libnbdraw import (GO, INFO, LIST_META, STARTTLS, STRUCTURED, Nbd, info_data,
                       meta_data)
from libserve import B, LONG, TOP, Memserver, main, wait

MIB = 1 << 20


class World:
    """Certificates, a server that wants them, and clients of it."""

    def __init__(self, *flags):
        self.server = Memserver('--export', '16M', '--export', 'other=8M', *flags, start=False)
        self.pki = self.server.dir + '/pki'
        subprocess.run([TOP + '/tests/make-pki', self.pki], check=True)
        self.clients = self.pki + '/clients'
        self.allow('CN:alice default', 'DNS:bob.test other', 'PSK:carol *')
        self.server.flags += ['--tls-cert', self.pki + '/server-cert.pem', '--tls-key',
                              self.pki + '/server-key.pem']

    def allow(self, *lines):
        with open(self.clients, 'w') as file:
            file.write('\n'.join(lines) + '\n')

    def cert(self, who, export=''):
        return f'nbds://localhost:{self.server.port}/{export}?tls-certificates={self.pki}/{who}'

    def psk(self, who, export='', file='keys.psk'):
        return f'nbds://{who}@localhost:{self.server.port}/{export}?tls-psk-file={self.pki}/{file}'

    def plain(self, export=''):
        return f'nbd://127.0.0.1:{self.server.port}/{export}'

    def unix(self, export=''):
        return f'nbd+unix:///{export}?socket={self.server.unix}'


def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240)
    return done.returncode, done.stdout + done.stderr


def size(uri):
    return run('nbdinfo', '--size', uri)


def opens(tap, uri, mib, sentence):
    status, said = size(uri)
    tap.ok(status == 0 and said.strip() == str(mib * MIB), sentence, said)


def refused(tap, world, uri, logged, sentence):
    before = len(world.server.log())
    status, said = size(uri)
    wait(lambda: logged in world.server.log()[before:])
    tap.ok(status != 0 and logged in world.server.log()[before:], sentence, said,
           world.server.log()[before:])
    return said


def metric(world, name):
    url = world.server.log().split('metrics on ')[-1].split()[0]
    text = run('curl', '-s', url)[1]
    return next((int(line.rsplit(' ', 1)[1]) for line in text.splitlines()
                 if line.startswith(name)), None)


def asked(w, who, name):
    """All that the server says to GO, INFO and a list of metadata contexts, by that client."""
    with Nbd(w.server.port) as client:
        client.option(STARTTLS)
        context = ssl.create_default_context(cafile=w.pki + '/ca-cert.pem')
        context.load_cert_chain(f'{w.pki}/{who}/client-cert.pem', f'{w.pki}/{who}/client-key.pem')
        client.s = context.wrap_socket(client.s, server_hostname='localhost')
        client.option(STRUCTURED)
        return [client.option(option, data) for option, data in (
            (GO, info_data(name)), (INFO, info_data(name)), (LIST_META, meta_data(name)))]


def who_may(tap, w):
    opens(tap, w.cert('alice'), 16, 'a client opens its export by its certificate')
    opens(tap, w.cert('bob', 'other'), 8, '... and another by the other name in its certificate')
    opens(tap, w.psk('carol', 'other'), 8, 'a client opens an export by a shared key')
    refused(tap, w, w.cert('bob'), 'CN:bob may not open that export',
            "a client can't open another's export")
    refused(tap, w, w.psk('dave'), 'PSK:dave may not open that export',
            'a key that is not in the list opens nothing')
    tap.equal([asked(w, 'bob', name) for name in ('default', 'default@0123456789ab', 'x')],
              [asked(w, 'bob', 'nosuch')] * 3, "... nor learn that it is there")
    status, said = run('nbdinfo', '--list', w.cert('alice'))
    tap.ok(status == 0 and 'default@' in said and 'other' not in said,
           'a client sees only the exports it may open', said)


def who_may_not(tap, w):
    for who, why in (('expired', 'certificate has expired'), ('revoked', 'certificate revoked'),
                     ('stranger', 'its certificate: ')):
        refused(tap, w, w.cert(who), why, f'a client whose certificate is {who} is refused')
    refused(tap, w, w.psk('carol', file='wrong.psk'), "with the key 'carol': binder",
            'a wrong key of a name that is known is refused')
    refused(tap, w, w.psk('nobody', file='wrong.psk'), "no key of the name 'nobody'",
            'a name that is not known is refused')
    said = refused(tap, w, w.plain(), 'TLS is required here',
                   'a client that does not encrypt is refused')
    tap.ok('requires TLS' in said, '... and told what it must do', said)
    opens(tap, w.unix(), 16, "a client at the unix socket needs no TLS")
    tap.ok(metric(w, 'memserver_tls_handshakes_total{result="failed"}') >= 5 and
           metric(w, 'memserver_tls_certificate_expiry_seconds') > 0, 'metrics count them')


def bytes_survive(tap, w):
    out, back = w.server.dir + '/out', w.server.dir + '/back'
    with open(out, 'wb') as file:
        file.write(os.urandom(16 * MIB))
    status, said = run('nbdcopy', out, w.cert('alice'))
    tap.ok(status == 0, 'nbdcopy writes through TLS, over four connections', said)
    status, said = run('nbdcopy', '--requests=64', w.psk('carol'), back)
    tap.ok(status == 0 and open(out, 'rb').read() == open(back, 'rb').read(),
           '... and reads the same bytes back, with another key', said)
    creds = f'tls-creds-x509,id=t,dir={w.pki}/alice,endpoint=client'
    image = f'driver=nbd,host=localhost,port={w.server.port},tls-creds=t'
    status, said = run('qemu-io', '--object', creds, '--image-opts', image, '-c',
                       'write -P 7 4k 1M', '-c', 'read -P 7 4k 1M', '-c', 'discard 4k 1M',
                       '-c', 'read -P 0 4k 1M', '-c', 'flush')
    tap.ok(status == 0 and 'failed' not in said, 'qemu-io writes, reads and discards with a '
           'certificate', said)
    status, said = run('qemu-img', 'info', '--object',
                       f'tls-creds-psk,id=t,dir={w.pki},endpoint=client,username=carol',
                       '--image-opts', image)
    tap.ok(status == 0 and '16 MiB' in said, 'qemu-img opens it with a shared key', said)
    status, said = run('/usr/bin/python3', '-c', f'''
import nbd
h = nbd.NBD()
h.set_uri_allow_local_file(True)
h.connect_uri("{w.cert('alice')}")
assert h.get_tls_negotiated()
buf = bytes(range(256)) * 4096
cookies = [h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(buf)), i << 20) for i in range(16)]
while not all(h.aio_command_completed(c) for c in cookies if c is not None) and h.aio_in_flight():
    h.poll(-1)
for i in range(16):
    assert h.pread(len(buf), i << 20) == buf
h.shutdown()
''')
    tap.ok(status == 0, 'requests of a megabyte, many at a time, come whole', said)


def shown_name(w):
    """The common name in the server's certificate."""
    with Nbd(w.server.port) as client:
        client.option(STARTTLS)
        context = ssl.create_default_context(cafile=w.pki + '/ca-cert.pem')
        with context.wrap_socket(client.s, server_hostname='localhost') as s:
            return dict(pair for part in s.getpeercert()['subject'] for pair in part)['commonName']


def rotation(tap, w):
    """New certificates and lists while a client has an export open."""
    child = subprocess.Popen(['/usr/bin/python3', '-c', f'''
import nbd, sys
h = nbd.NBD()
h.set_uri_allow_local_file(True)
h.connect_uri("{w.cert('alice')}")
for line in sys.stdin:
    h.pwrite(b"x" * 4096, 0)
    print("written", flush=True)
'''], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def writes():
        child.stdin.write('go\n')
        child.stdin.flush()
        return child.stdout.readline().strip() == 'written'

    def memctl(*words):
        return run(os.environ.get('B', TOP + '/build') + '/memctl', '-s', w.server.control, *words)

    tap.ok(writes(), 'a client is at work')
    for name in ('server-cert.pem', 'server-key.pem'):
        os.replace(f'{w.pki}/new/{name}', f'{w.pki}/{name}')
    w.allow('CN:bob *')
    status, said = memctl('reload')
    tap.ok(status == 0 and writes(), 'a reload leaves it alone', said)
    opens(tap, w.cert('bob'), 16, 'the new list holds')
    status, said = size(w.cert('alice'))
    tap.ok(status != 0 and 'no export named' in said, '... for new clients only', said)
    tap.equal(shown_name(w), 'renewed', 'the new certificate is shown')
    w.allow('bob *')
    status, said = memctl('reload')
    tap.ok(status == 1 and 'clients:1: ' in said and 'stays as it was' in said,
           'a list with a mistake is refused with its line', said)
    os.chmod(w.pki + '/server-key.pem', 0o644)
    w.allow('CN:bob *')
    status, said = memctl('reload')
    tap.ok(status == 1 and 'chmod 600' in said, 'so is a key that others can read', said)
    opens(tap, w.cert('bob'), 16, '... and all stays as it was')
    tap.ok(writes(), '... for who is at work too')
    status, said = memctl('show', 'config')
    secret = open(w.pki + '/keys.psk').read().split(':')[1][:64]
    tap.ok(status == 0 and 'nbd-tls = required' in said and secret not in said and
           secret not in w.server.log(), 'secrets are in no configuration shown, and in no log', said)
    child.stdin.close()
    child.wait(60)


def per_export(tap):
    w = World('--nbd-tls', 'offered', '--export', 'secret=8M,tls=required')
    w.server.start()
    opens(tap, w.plain(), 16, 'where TLS is offered a client may do without')
    refused(tap, w, w.plain('secret'), 'served with TLS only',
            '... but not for an export that asks for it')
    opens(tap, w.cert('alice', 'secret'), 8, '... which is there with TLS')
    opens(tap, w.unix('secret'), 8, '... and at the unix socket')
    made = subprocess.run([B + '/memctl', '-s', w.server.control, 'create', 'later', '4M', '--tls'],
                          capture_output=True, text=True, timeout=LONG, check=False)
    tap.equal((made.returncode, made.stderr), (0, ''), 'memctl create --tls')
    refused(tap, w, w.plain('later'), 'served with TLS only', '... makes such an export')
    opens(tap, w.cert('alice', 'later'), 4, '... which is there with TLS, too')
    w.server.stop(9)
    w.server.flags = [f.replace('secret=8M,tls=required', 'secret=8M') for f in w.server.flags]
    w.server.start()
    refused(tap, w, w.plain('secret'), 'served with TLS only',
            'a restart that forgets to say it does not forget it')
    tap.equal(w.server.complaints(), '', 'no sanitizer complains')
    w.server.close()
    w = World('--nbd-tls-unix')
    w.server.start()
    status, said = size(w.unix())
    tap.ok(status != 0 and 'requires TLS' in said, 'unix sockets are not exempt if told so', said)
    w.server.close()


def test(tap):
    w = World('--metrics', '127.0.0.1:0')
    w.server.flags += ['--tls-ca', w.pki + '/crl.pem', '--tls-psk', w.pki + '/keys.psk',
                       '--tls-clients', w.clients]
    w.server.start()
    who_may(tap, w)
    w.server.stop()  # a new one may log ten refusals anew
    w.server.start()
    who_may_not(tap, w)
    bytes_survive(tap, w)
    rotation(tap, w)
    tap.ok(w.server.alive() and not w.server.complaints(), 'no sanitizer complains',
           w.server.complaints())
    w.server.close()
    per_export(tap)


main(test)
