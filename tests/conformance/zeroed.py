#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 200
"""What one tenant stored no other ever reads: memory that is lent again is zeros, by every
door, whichever way it was given back; also where only part of a page is written anew."""
import os
import subprocess
import sys

TESTS = os.path.dirname(os.path.realpath(__file__)) + '/..'
sys.path[:0] = [TESTS, TESTS + '/hostile']
import libnvme  # noqa: E402
from libnbdraw import NO_HOLE, Nbd, READ  # noqa: E402
from libserve import B, LONG, Memserver, free_port, main, wait  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
SIZE = 16 * MIB
SECRET = (b'the tenant before' * 964)[:16 * KIB]
IQN = 'iqn.2026-11.io.remem:'


def memctl(server, *words):
    """It must succeed, as soon as the server has seen that its last client went."""
    said = []

    def done():
        said[:] = [subprocess.run([B + '/memctl', '-s', server.control, *words], text=True,
                                  capture_output=True, timeout=LONG, check=False)]
        return not said[0].returncode or 'in use' not in said[0].stderr

    wait(done)
    assert not said[0].returncode, said[0].stderr


def store(server, name, size=SIZE):
    """A tenant fills all of it."""
    with Nbd(server.port) as c:
        c.go(name)
        for at in range(0, size, MIB):
            assert not c.write(at, SECRET * 64)


def all_zeros(server, name, start=0, end=SIZE):
    with Nbd(server.port) as c:
        c.go(name)
        return all(c.read(at, min(MIB, end - at)) == bytes(min(MIB, end - at))
                   for at in range(start, end, MIB))


def part_of_a_page(server, name, at):
    """A new tenant writes 512 bytes; are those around them zeros?"""
    with Nbd(server.port) as c:
        c.go(name)
        assert not c.write(at + 1024, b'n' * 512)
        return c.read(at, 4096) == bytes(1024) + b'n' * 512 + bytes(4096 - 1536)


def by_nvme(port, name, start=0, end=SIZE):
    with libnvme.Controller(port, 1, sub=libnvme.subnqn(name)) as c:
        for lba in range(start // 4096, end // 4096, 32):
            status, data = c.io[0].read(lba, 32)
            if status.status or data != bytes(128 * KIB):
                return False
    return True


def qemu_io(url, *commands):
    argv = ['qemu-io', '-f', 'raw']
    for command in commands:
        argv += ['-c', command]
    r = subprocess.run(argv + [url], capture_output=True, text=True, timeout=2 * LONG, check=False)
    said = r.stdout + r.stderr
    return r.returncode == 0 and 'failed' not in said and 'error' not in said.lower(), said


def created_again(tap, server, nvme):
    store(server, 'one')
    memctl(server, 'drop', 'one')
    memctl(server, 'create', 'one', '16M')
    tap.ok(all_zeros(server, 'one'), 'dropped and created again, over NBD: zeros')
    tap.ok(by_nvme(nvme, 'one'), 'over NVMe: zeros')
    tap.ok(part_of_a_page(server, 'one', 8 * MIB), 'nor is the rest of a page that is written in part')
    store(server, 'one')
    memctl(server, 'drop', 'one')
    memctl(server, 'create', 'another', '16M')
    tap.ok(all_zeros(server, 'another'), 'created under another name: zeros')
    memctl(server, 'drop', 'another')


def dropped_while_used(tap, server):
    """By force, with a client that still has requests under way."""
    memctl(server, 'create', 'used', '16M')
    store(server, 'used')
    with Nbd(server.port, rcvbuf=4096) as c:
        c.go('used')
        for at in range(0, SIZE, MIB):
            c.post(READ, at, MIB)
        memctl(server, 'drop', '--force', 'used')
        memctl(server, 'create', 'used', '16M')
        tap.ok(all_zeros(server, 'used'), 'dropped by force while somebody reads, created again: zeros')
    memctl(server, 'drop', '--force', 'used')


def given_back(tap, server, nvme):
    memctl(server, 'create', 'given', '16M')
    store(server, 'given')
    with Nbd(server.port) as c:
        c.go('given')
        assert not c.trim(0, 4 * MIB)
        assert not c.zero(4 * MIB, 4 * MIB)
        assert not c.zero(8 * MIB, 2 * MIB, NO_HOLE)
    for what, start in (('trimmed', 0), ('zeroed', 4 * MIB), ('zeroed in place', 8 * MIB)):
        end = start + 2 * MIB
        tap.ok(all_zeros(server, 'given', start, end) and by_nvme(nvme, 'given', start, end),
               f'{what}: zeros by every door')
        tap.ok(part_of_a_page(server, 'given', start + MIB), f'{what}, then written in part: the rest is zeros')
    with libnvme.Controller(nvme, 1, sub=libnvme.subnqn('given')) as c:
        assert c.io[0].dsm([(12 * MIB // 4096, 2 * MIB // 4096)]).status == 0
    tap.ok(all_zeros(server, 'given', 12 * MIB, 14 * MIB), 'deallocated over NVMe: zeros')

    store(server, 'given')
    with Nbd(server.port, rcvbuf=4096) as reader, Nbd(server.port) as c:
        reader.go('given')
        c.go('given')
        for at in range(0, 8 * MIB, MIB):
            reader.post(READ, at, MIB)  # and does not take the answers: it holds the pages
        assert not c.trim(0, 8 * MIB)
        tap.ok(all(c.read(at, MIB) == bytes(MIB) for at in range(0, 8 * MIB, MIB)),
               'trimmed while somebody holds the pages: zeros')
        tap.ok(all(part_of_a_page(server, 'given', at) for at in range(0, 8 * MIB, MIB)),
               'and zeros around what is written in part')
    server.stop(9)
    server.start()
    tap.ok(all_zeros(server, 'given', 2 * MIB + 4 * KIB, 3 * MIB), 'also after a crash')
    memctl(server, 'drop', 'given')


def cut_off(tap, server, nvme):
    memctl(server, 'create', 'cut', '16M')
    store(server, 'cut')
    memctl(server, 'resize', 'cut', '5000K')
    memctl(server, 'resize', 'cut', '16M')
    tap.ok(all_zeros(server, 'cut', 5000 * KIB), 'shrunk and grown again: zeros beyond the cut')
    tap.ok(by_nvme(nvme, 'cut', 6 * MIB), 'over NVMe as well')
    with Nbd(server.port) as c:
        c.go('cut')
        tap.ok(c.read(4 * MIB, 16 * KIB) == SECRET, 'and before it what was there')
    server.stop(9)
    server.start()
    tap.ok(all_zeros(server, 'cut', 5000 * KIB), 'also after a crash')
    memctl(server, 'drop', 'cut')


def left_over(tap, server):
    """Files that a crash has left in the pool belong to nobody."""
    memctl(server, 'create', 'left', '16M')
    store(server, 'left')
    server.stop(9)
    os.unlink(f'{server.pool}/left.json')  # a crash in the middle of a drop
    server.start()
    tap.ok(not os.path.exists(server.file('left')), "half an export's bytes are removed")
    memctl(server, 'create', 'left', '16M')
    tap.ok(all_zeros(server, 'left'), 'and its name made again has none of them')
    memctl(server, 'drop', 'left')
    with open(server.file('left'), 'wb') as f:
        f.write(SECRET * 1024)
    r = subprocess.run([B + '/memctl', '-s', server.control, 'create', 'left', '16M'],
                       capture_output=True, text=True, timeout=LONG, check=False)
    tap.ok(r.returncode or all_zeros(server, 'left'),
           'a file of that name that lies there is never served', r.stdout + r.stderr)


def by_iscsi(tap):
    port = free_port()

    def url(name):
        return f'iscsi://127.0.0.1:{port}/{IQN}{name}/1'

    def offered(name):
        r = subprocess.run(['iscsi-ls', f'iscsi://127.0.0.1:{port}'], capture_output=True,
                           text=True, timeout=LONG, check=False)
        return f'Target:{IQN}{name} ' in r.stdout

    with Memserver('--export', '16M', '--iscsi', f'127.0.0.1:{port}') as server:
        wait(lambda: offered('default'))
        tap.ok(*_said(qemu_io(url('default'), 'write -P 0x5a 0 16M'), 'iSCSI: a tenant fills an export'))
        tap.ok(*_said(qemu_io(url('default'), 'discard 0 4M', 'read -P 0 0 4M',
                              'write -P 1 1k 512', 'read -P 0 0 1k', 'read -P 0 1536 2560'),
                      'iSCSI: unmapped, then written in part: zeros'))
        memctl(server, 'resize', 'default', '5000K')
        memctl(server, 'resize', 'default', '16M')
        wait(lambda: offered('default'))
        tap.ok(*_said(qemu_io(url('default'), 'read -P 0 5000k 11384k', 'read -P 0x5a 4M 904k'),
                      'iSCSI: shrunk and grown again: zeros beyond the cut'))
        tap.ok(all_zeros(server, 'default', 5000 * KIB), 'NBD reads them, too')
        wait(lambda: offered('default'))
        assert qemu_io(url('default'), 'write -P 0x5a 0 16M')[0]
        memctl(server, 'drop', 'default')
        memctl(server, 'create', 'default', '16M')
        wait(lambda: offered('default'))
        tap.ok(*_said(qemu_io(url('default'), 'read -P 0 0 16M'),
                      'iSCSI: dropped and created again: zeros'))
        tap.ok(*_said(qemu_io(url('default'), 'write -P 2 9M 512', 'read -P 0 9437696 3584'),
                      'and around what is written in part'))
        tap.ok(all_zeros(server, 'default', 0, 9 * MIB), 'NBD reads them, too')


def _said(result, sentence):
    return result[0], sentence, result[1]


def test(tap):
    nvme = free_port()
    with Memserver('--export', 'one=16M', '--nvme', f'127.0.0.1:{nvme}') as server:
        created_again(tap, server, nvme)
        dropped_while_used(tap, server)
        given_back(tap, server, nvme)
        cut_off(tap, server, nvme)
        left_over(tap, server)
        tap.equal(server.complaints(), '', 'no sanitizer complains')
    by_iscsi(tap)


main(test)
