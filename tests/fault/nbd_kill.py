#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""memserver is killed under load and started again: every acknowledged byte is there."""
import contextlib
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, HERE + '/..']
# pylint: disable=wrong-import-position,wildcard-import,unused-wildcard-import
from libnbdload import *
from libserve import Memserver, main, wait

MIB = 1 << 20
CLIENTS = 4
CLIENT_BLOCKS = 2048


def loaded(server, loads, seconds):
    """All loads at once, each on a connection of its own, until the server is killed."""
    trouble = []

    def one(load, structured):
        try:
            with Nbd(server.port if structured else server.unix) as c:
                c.go('default', structured=structured)
                load.run(c, 1 << 30)
        except (Ended, OSError):
            pass
        except Exception as e:  # pylint: disable=broad-except
            trouble.append(e)

    threads = [threading.Thread(target=one, args=(load, n % 2 == 0)) for n, load in enumerate(loads)]
    before = sum(load.acknowledged for load in loads)
    for t in threads:
        t.start()
    time.sleep(seconds)  # the moment of the kill is what varies
    assert wait(lambda: sum(x.acknowledged for x in loads) > before + 500 or trouble)
    server.process.kill()
    server.process.wait()
    for t in threads:
        t.join()
    assert not trouble, trouble


def killed_under_load(tap, kills, *flags):
    with Memserver('--export', '64M', '--export', 'fio=64M', '--threads', '2', *flags) as server:
        loads = [Load(n * CLIENT_BLOCKS, CLIENT_BLOCKS, n + 1, '--huge' not in flags)
                 for n in range(CLIENTS)]
        with Nbd(server.port) as c:
            generation = c.go('default', INFO_NAME)[INFO_NAME]
        for n in range(kills):
            with tap.point(f'killed under load ({n + 1}){" ".join(("", *flags))}: what was acknowledged is there'):
                loaded(server, loads, 0.05 * n)
                server.start()
                with Nbd(server.port) as c:
                    assert c.go('default', INFO_NAME)[INFO_NAME] == generation
                    for load in loads:
                        load.verify(c)
        tap.say(f'{sum(x.acknowledged for x in loads)} requests were acknowledged')
        with tap.point('and all of it can be given back'):
            with Nbd(server.port) as c:
                c.go(generation.decode())
                assert c.trim(0, 64 * MIB) == 0
            assert server.wait_stored(0)
        fio(tap, server)
        tap.equal(server.stop(), 0, 'it ends in good order')
        tap.equal(server.complaints(), '', 'and its sanitizers are silent')


def fio(tap, server):
    """fio writes with a verify header, is done, and checks after the kill."""
    def run(*more):
        argv = ['fio', '--name=x', '--ioengine=nbd', f'--uri=nbd://127.0.0.1:{server.port}/fio',
                '--rw=randwrite', '--bs=4k', '--size=64m', '--iodepth=32', '--verify=crc32c',
                '--randseed=7', '--output-format=terse', *more]
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
                              cwd=server.dir, check=False)

    wrote = run('--do_verify=0', '--verify_state_save=0')
    tap.equal(wrote.returncode, 0, 'fio fills an export')
    server.process.kill()
    server.process.wait()
    server.start()
    read = run('--verify_only')
    tap.ok(read.returncode == 0, 'and verifies all of it after a kill', read.stdout.decode())
    with open(server.file('fio'), 'r+b') as file:
        file.seek(12345678)
        file.write(b'?')
    read = run('--verify_only')
    tap.ok(read.returncode != 0, 'as it would not with one byte wrong')


def reborn(tap):
    """The host lost its memory: the old name with its generation finds nothing."""
    with Memserver('--export', '16M') as server:
        with Nbd(server.port) as c:
            name_then = c.go('', INFO_NAME)[INFO_NAME].decode()
            c.write(0, b'x')
        server.stop()
        for file in os.listdir(server.pool):
            with contextlib.suppress(IsADirectoryError):
                os.unlink(f'{server.pool}/{file}')
        server.start()
        with Nbd(server.port) as c:
            tap.equal(c.option(GO, info_data(name_then)), ([], ERR_UNKNOWN),
                      'after the host lost its memory an old client is refused')
            tap.ok(c.go('', INFO_NAME)[INFO_NAME].decode() != name_then,
                   'the export has a new generation')
            tap.equal(c.read(0, 1), b'\0', 'and nothing in it')
        server.process.kill()
        server.process.wait()
        os.unlink(server.pool + '/default.json')
        server.start()
        with Nbd(server.port) as c:
            c.go()
            tap.equal(c.read(0, 1), b'\0', 'bytes whose identity is lost are not shown to anybody')


def test(tap):
    killed_under_load(tap, 6)
    killed_under_load(tap, 3, '--huge')
    reborn(tap)


main(test)
