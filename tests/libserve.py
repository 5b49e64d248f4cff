# SPDX-License-Identifier: GPL-2.0-or-later
"""TAP for tests in Python, and a memserver of the test's own.

    import os, sys; sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)) + '/..')
    from libserve import Memserver, Tap

    tap = Tap()
    with Memserver('--export', '64M') as server:
        tap.ok(server.alive(), 'it serves')
    sys.exit(tap.done())

The pool lies in a folder of its own on /dev/shm, so that nothing is mounted; everything is
removed at the end. A sanitizer's report in the server's log fails the test.
"""
import atexit
import contextlib
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
B = os.environ.get('B', TOP + '/build')
LONG = 60  # seconds after which an event that must come is given up
REPORT = re.compile(r'ERROR: \w+Sanitizer|WARNING: \w*Sanitizer|runtime error: |'
                    r'SUMMARY: \w+Sanitizer')


class Tap:
    """Counts points, prints them."""

    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, sentence, *details):
        self.count += 1
        self.failed += not good
        print(f"{'' if good else 'not '}ok {self.count} - {sentence}", flush=True)
        if not good:
            for detail in details:
                self.say(detail)
        return bool(good)

    def equal(self, got, want, sentence):
        shown = got if isinstance(got, str) and '\n' in got else repr(got)
        return self.ok(got == want, sentence, f'got:    {shown}', f'wanted: {want!r}')

    def skip(self, sentence, reason):
        self.count += 1
        print(f'ok {self.count} - {sentence} # SKIP {reason}', flush=True)

    @staticmethod
    def say(text):
        for line in str(text).splitlines():
            print('# ' + line[:400], flush=True)

    @contextlib.contextmanager
    def point(self, sentence):
        """A point that fails if its body raises."""
        try:
            yield
        except Exception:  # pylint: disable=broad-except
            self.ok(False, sentence, traceback.format_exc())
        else:
            self.ok(True, sentence)

    def done(self):
        """Prints the plan; the status to exit with."""
        print(f'1..{self.count}', flush=True)
        return 1 if self.failed or not self.count else 0


class Memserver:
    """A memserver with NBD on a port of its own (and a unix socket, `self.unix`).

    `flags` as on the command line; other doors are off unless they name them; MEMSERVER_USER in
    the environment is whom root's memserver becomes. The pool and
    the log stay over restarts.
    """

    def __init__(self, *flags, env=None, program=None, start=True, stderr=None, prefix=()):
        self.dir = tempfile.mkdtemp(prefix='serve.')
        self.pool = tempfile.mkdtemp(prefix='remem-pool.', dir='/dev/shm')
        self.flags, self.env = list(flags), dict(env or {})
        self.program = program or B + '/memserver'
        self.prefix = list(prefix)
        self.unix = self.dir + '/nbd.sock'
        self.log_path = self.dir + '/log'
        self.stderr = stderr
        self.process = None
        self.port = 0
        self.control = self.dir + '/control'
        atexit.register(self.close)
        if start:
            self.start()

    def command(self):
        argv = self.prefix + [self.program, '--pool', self.pool, '--control', self.control]
        for flag, value in (('--nvme', 'off'), ('--discovery', 'off'), ('--metrics', 'off')):
            if flag not in self.flags:
                argv += [flag, value]
        if '--nbd' not in self.flags:
            argv += ['--nbd', f'127.0.0.1:{self.port}', '--nbd', 'unix:' + self.unix]
        if '--user' not in self.flags and 'MEMSERVER_USER' in os.environ:
            argv += ['--user', os.environ['MEMSERVER_USER']]
        return argv + self.flags

    def start(self):
        """Starts it (again, on the same port) and waits until it is ready."""
        env = dict(os.environ, **self.env)
        begun = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=self.stderr or log, env=env)
        if self.stderr:
            return self
        argv = self.command()
        doors = sum(flag in ('--nbd', '--nvme', '--discovery') and value != 'off'
                    for flag, value in zip(argv, argv[1:]))
        end = time.monotonic() + LONG
        while True:
            with open(self.log_path, errors='replace') as log:
                log.seek(begun)
                text = log.read()
            ready = re.findall(r'ready: nbd on 127\.0\.0\.1:(\d+)', text)
            if len(re.findall('ready: (?:nbd|nvme)', text)) >= doors:
                if ready:
                    self.port = int(ready[0])
                return self
            if self.process.poll() is not None:
                raise RuntimeError('memserver ended with %d: %s' % (self.process.returncode,
                                                                   text[-3000:]))
            if time.monotonic() > end:
                raise RuntimeError('memserver is never ready: ' + text[-3000:])
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- how it is ----

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        with open(self.log_path, errors='replace') as log:
            return log.read()

    def complaints(self):
        """What the sanitizers have said."""
        lines = self.log().splitlines()
        for number, line in enumerate(lines):
            if REPORT.search(line):
                return '\n'.join(lines[max(0, number - 5):number + 40])
        return ''

    def rss(self):
        """Bytes of memory that are not the pool's."""
        with open(f'/proc/{self.pid}/status') as status:
            fields = dict(line.split(':', 1) for line in status if ':' in line)
        return (int(fields['RssAnon'].split()[0]) + int(fields['RssFile'].split()[0])) << 10

    def cpu(self):
        """Seconds of CPU it has used."""
        with open(f'/proc/{self.pid}/stat') as stat:
            fields = stat.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def file(self, name='default'):
        return f'{self.pool}/{name}.mem'

    def stored(self, name='default'):
        """Bytes of memory an export really takes."""
        return os.stat(self.file(name)).st_blocks * 512

    def wait_stored(self, want, name='default'):
        """Until the export takes exactly this much; what it takes at the end."""
        return wait(lambda: self.stored(name) == want) or self.stored(name) == want

    # ---- its end ----

    def stop(self, number=signal.SIGTERM):
        """Ends it; its status (minus the signal if that killed it)."""
        if not self.alive():
            return self.process.returncode
        self.process.send_signal(number)
        try:
            return self.process.wait(LONG)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return 'it did not end'

    def close(self):
        if self.process is not None:
            self.stop()
        shutil.rmtree(self.pool, ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)


def wait(condition, seconds=LONG):
    """Until `condition` is true; for what gives no event. What it was last."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def children(pid):
    """Process ids, as text."""
    with open(f'/proc/{pid}/task/{pid}/children') as file:
        return file.read().split()


def free_port():
    """A port nobody listens on, below those the kernel gives out itself."""
    while True:
        port = random.randint(10240, 32000)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(('127.0.0.1', port))
            return port


def readable(sock, seconds=LONG):
    return bool(select.select([sock], [], [], seconds)[0])


def main(function):
    """Runs function(tap); the status of the test."""
    tap = Tap()
    try:
        function(tap)
    except Exception:  # pylint: disable=broad-except
        tap.ok(False, 'the test itself comes to its end', traceback.format_exc())
    sys.exit(tap.done())
