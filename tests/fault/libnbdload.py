# SPDX-License-Identifier: GPL-2.0-or-later
"""A load on one NBD connection that knows what every block must hold.

Each block has the set of contents it may have: one value once a request is acknowledged,
old or new while one is under way. A block is 4 KiB of one 8-byte number; 0 is zeros.
"""
import os
import random
import struct
import sys

sys.path[:0] = [os.path.dirname(os.path.realpath(__file__)) + '/../hostile']
# pylint: disable=wrong-import-position,wildcard-import,unused-wildcard-import
from libnbdraw import *

BLOCK = 4096


def content(value):
    return struct.pack('>Q', value) * (BLOCK // 8) if value else bytes(BLOCK)


def may_be(data, values):
    """Is this block one of these, or (more than one: a write was cut off) one up to some
    byte and another from there on?"""
    if any(data == content(v) for v in values):
        return True
    for new in values:
        for old in values:
            a, b = content(new), content(old)
            same = next((i for i in range(BLOCK) if data[i] != a[i]), BLOCK)
            if data[same:] == b[same:]:
                return True
    return False


class Wrong(Exception):
    """A block holds what it may not."""


class Load:
    """Random requests to `blocks` blocks from `first` on, which nobody else may touch.

    `pages`: memory comes and goes by 4 KiB, so that a trimmed block is zeros; else it may be
    part of a larger page, and is then left as it is.
    """

    def __init__(self, first, blocks, seed, pages=True):
        self.pages = pages
        self.first, self.blocks = first, blocks
        self.random = random.Random(seed)
        self.value = seed << 40
        self.may = [{0} for _ in range(blocks)]
        self.going = {}  # cookie -> (command, block, count, value)
        self.errors = {}  # code -> how often
        self.acknowledged = 0

    def offset(self, block):
        return (self.first + block) * BLOCK

    def busy(self):
        return {b for _, block, count, _ in self.going.values() for b in range(block, block + count)}

    def post(self, c):
        """One request to blocks that no other one is on its way to."""
        count = self.random.choice((1, 1, 1, 2, 5, 16))
        block = self.random.randrange(self.blocks - count + 1)
        if not self.busy().isdisjoint(range(block, block + count)):
            return
        command = self.random.choice((WRITE, WRITE, WRITE, READ, READ, TRIM, ZEROES, ZEROES))
        flags, data, value = 0, b'', 0
        if command == WRITE:
            self.value += 1
            value, data = self.value, content(self.value) * count
            flags = self.random.choice((0, FUA))
        elif command == ZEROES:
            flags = self.random.choice((0, NO_HOLE))
        if command != READ:
            for b in range(block, block + count):
                self.may[b] = self.may[b] | {value}
        c.cookie += 1  # known before it is sent: it may arrive though sending fails
        self.going[c.cookie] = (command, block, count, value)
        c.send(c.request_bytes(command, self.offset(block), count * BLOCK, flags, c.cookie), data)

    def take(self, c):
        """The next reply."""
        magic, = struct.unpack('>I', c.take(4))
        if magic == SIMPLE:
            error, cookie = struct.unpack('>IQ', c.take(12))
            command, block, count, value = self.going[cookie]
            data = c.take(count * BLOCK) if command == READ and not error else b''
        else:
            _, kind, cookie, size = struct.unpack('>HHQI', c.take(16))
            command, block, count, value = self.going[cookie]
            body = c.take(size)
            error = struct.unpack('>I', body[:4])[0] if kind == ERROR else 0
            data = bytes(count * BLOCK) if kind == HOLE else body[8:] if kind == DATA else b''
        del self.going[cookie]
        if error:
            self.errors[error] = self.errors.get(error, 0) + 1
        else:
            self.acknowledged += 1
        if command == READ:
            if not error:
                self.check(block, data)
            return
        if command == TRIM and not self.pages:
            return
        for b in range(block, block + count):
            if not error:
                self.may[b] = {value}
            elif len(self.may[b]) > 1:  # as before; else it was this value already
                self.may[b] = self.may[b] - {value}

    def check(self, block, data):
        for n in range(len(data) // BLOCK):
            piece = data[n * BLOCK:(n + 1) * BLOCK]
            if not may_be(piece, self.may[block + n]):
                raise Wrong(f'block {self.first + block + n} holds {piece[:16].hex()}..'
                            f'{piece[-16:].hex()}, it may be '
                            f'{[hex(v) for v in self.may[block + n]]}')

    def run(self, c, requests, depth=16, stop=lambda: False):
        """Raises Ended, or OSError, when the connection ends, with requests in `going`."""
        for _ in range(requests):
            if stop():
                break
            self.post(c)
            while len(self.going) >= depth:
                self.take(c)
        while self.going:
            self.take(c)

    def verify(self, c):
        """Reads all; what was under way is settled now."""
        self.going = {}
        for block in range(0, self.blocks, 16):
            count = min(16, self.blocks - block)
            data = c.read(self.offset(block), count * BLOCK)
            self.check(block, data)
            for n in range(count):
                piece = data[n * BLOCK:(n + 1) * BLOCK]
                known = [v for v in self.may[block + n] if piece == content(v)]
                if known:
                    self.may[block + n] = {known[0]}
                else:  # cut in two by the kill: make it whole again
                    self.value += 1
                    assert c.write(self.offset(block + n), content(self.value)) == 0
                    self.may[block + n] = {self.value}
