# SPDX-License-Identifier: GPL-2.0-or-later
"""For tests of vmemdirect in Python: TAP, a process to be paged, a daemon that pages it, a
sampler of the limit. $B is the folder of the built programs."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

B = os.environ.get("B", os.path.join(os.path.dirname(os.path.realpath(__file__)), "../build"))
TOP = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
T = tempfile.mkdtemp(prefix="paging.")
STATE = f"{T}/state"
MIB = 1 << 20
TSAN = os.path.basename(B).endswith("-tsan")
LESS = 4 if TSAN else 1  # of what is done often: it is the races that count there, and it is slow

_tests = []
_children = []


def test(sentence, tsan=True):
    """Marks a function as a test with this name; without `tsan` it has no threads of its own to tell of."""
    def mark(fn):
        if tsan or not TSAN:
            _tests.append((sentence, fn))
        return fn
    return mark


class Skip(Exception):
    pass


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def diag(text):
    for line in str(text).rstrip().splitlines():
        print(f"# {line}", flush=True)


def end_children():
    for child in _children:
        if child.poll() is None:
            child.kill()
    for child in _children:
        child.wait()
    _children.clear()


def main():
    """Runs all, or those whose sentence contains the first argument."""
    failed = 0
    _tests[:] = [t for t in _tests if not sys.argv[1:] or sys.argv[1] in t[0]]
    print(f"1..{len(_tests)}", flush=True)
    for number, (sentence, fn) in enumerate(_tests, 1):
        begun = time.monotonic()
        try:
            fn()
            print(f"ok {number} - {sentence}", flush=True)
        except Skip as why:
            print(f"ok {number} - {sentence} # SKIP {why}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {number} - {sentence}", flush=True)
            diag(traceback.format_exc())
        finally:
            end_children()
            diag(f"{number} took {time.monotonic() - begun:.1f} s")
    shutil.rmtree(T, ignore_errors=True)
    sys.exit(1 if failed else 0)


def interrupted(number, _):
    for child in _children:
        child.kill()  # (a wait here would wait for the one that was interrupted)
    shutil.rmtree(T, ignore_errors=True)
    os._exit(128 + number)


for _number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(_number, interrupted)


def spawn(argv, **kwargs):
    child = subprocess.Popen(argv, **kwargs)
    _children.append(child)
    return child


def wait_until(condition, what, seconds=120, alive=None, pause=0.01):
    """Only for what gives no event. `pause`: seconds between looks, for those that cost something."""
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, f"{what}: not within {seconds} s")
        check(alive is None or alive.poll() is None, f"{what}: the process has ended")
        time.sleep(pause)


class Paged:
    """tests/tools/paged: a process whose memory is patterns."""

    def __init__(self, *options, size="64M", before=None):
        self.child = spawn((before or []) + [f"{B}/tests/tools/paged", "--size", size, *options],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        check(self.child.stdout.readline() == "ready\n", "paged does not start")
        self.pid = self.child.pid

    def send(self, line):
        words = line.split()
        if words[0] == "run":
            words[2] = str(int(words[2]) // LESS)
            line = " ".join(words)
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def answer(self):
        return self.child.stdout.readline().strip()

    def __call__(self, line):
        self.send(line)
        return self.answer()

    def expect(self, line):
        said = self(line)
        check(said.split(" ")[0] == "ok", f"{line}: {said}")
        return said

    def object_path(self):
        return memory_object(self.pid)

    def quit(self):
        self.send("quit")
        self.child.wait()


def memory_object(pid, least=MIB):
    """The biggest shared memory object of a process, as a path to stat."""
    best = None
    for line in open(f"/proc/{pid}/maps"):
        words = line.split(maxsplit=5)
        start, end = (int(x, 16) for x in words[0].split("-"))
        if words[1][3] == "s" and end - start >= (best[0] if best else least):
            best = (end - start, words[0])
    check(best, f"process {pid} has no shared memory object")
    return f"/proc/{pid}/map_files/" + "-".join(x.lstrip("0") or "0" for x in best[1].split("-"))


class Limit:
    """Looks at the object's size from outside, all the time; remembers the worst."""

    def __init__(self, path, limit_bytes):
        self.path, self.limit, self.worst, self.samples = path, limit_bytes, 0, 0
        self.stop = threading.Event()
        self.fd = os.open(path, os.O_RDONLY)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def resident(self):
        return os.fstat(self.fd).st_blocks * 512

    def run(self):
        while not self.stop.is_set():
            self.worst = max(self.worst, self.resident())
            self.samples += 1
            time.sleep(0.001)

    def start(self):
        self.thread.start()
        return self

    def end(self):
        self.stop.set()
        self.thread.join()
        os.close(self.fd)
        check(self.samples > 0, "the limit was never looked at")
        check(self.worst <= self.limit, f"{self.worst} bytes were resident, the limit is {self.limit}")


def attach_argv(*options, name="t"):
    return [f"{B}/vmemdirect", "attach", "--state", STATE, "--name", name, *options]


class Daemon:
    """A vmemdirect attach, up when made (unless wait=False)."""

    def __init__(self, *options, name="t", argv=None, env=None, wait=True):
        self.name = name
        self.log_path = f"{T}/{name}.log"
        self.log = open(self.log_path, "a+")
        self.child = spawn(argv or attach_argv(*options, name=name), stderr=self.log,
                           env={**os.environ, **(env or {})})
        if wait:
            self.wait_up()

    def wait_up(self):
        try:
            wait_until(self.answers, "attach", alive=self.child)
        except AssertionError:
            diag(self.text())
            raise

    def text(self):
        return open(self.log_path).read()

    def answers(self):
        return self.verb("status", "--json").returncode == 0

    def verb(self, verb, *words):
        return subprocess.run([f"{B}/vmemdirect", verb, "--state", STATE, self.name, *words],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def tell(self, verb):
        return subprocess.run([f"{B}/vmemdirect", verb, "--state", STATE], check=True, text=True,
                              stdout=subprocess.PIPE).stdout

    def status(self):
        done = self.verb("status", "--json")
        check(done.returncode == 0, done.stderr)
        return json.loads(done.stdout)

    def order(self, verb, *words):
        done = self.verb(verb, *words)
        check(done.returncode == 0, f"{verb} {words}: {done.stderr}; the daemon: {self.text()[-2000:]}")

    def wait_squeezed(self, seconds=120):
        def done():
            s = self.status()
            return s["resident_bytes"] <= s["limit_bytes"]
        wait_until(done, "getting down to the limit", seconds, self.child)

    def detach(self):
        self.order("detach")
        check(self.child.wait(120) == 0, f"status {self.child.returncode}: {self.text()}")

    def kill(self):
        self.child.kill()
        self.child.wait()

    def resume(self, wait=True):
        return Daemon(argv=[f"{B}/vmemdirect", "attach", "--state", STATE, "--resume", self.name],
                      name=self.name, wait=wait)


def refused(*options, name="t", env=None, argv=None, status=(1, 2)):
    """Runs an attach that has to fail, with one of these statuses; returns what it said."""
    done = subprocess.run(argv or attach_argv(*options, name=name), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120,
                          env={**os.environ, **(env or {})})
    check(done.returncode in status, f"status {done.returncode}: {done.stdout}")
    return done.stdout
