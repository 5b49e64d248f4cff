#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 400
# The swap that a benchmark switches on is off again, however that ends. In a guest: never on a host.
. "$(dirname "$0")/../lib.sh"
plan 1

truncate -s 256M "$T/disk"
refuses "a benchmark's swap is on for one measurement, limits one process, and is off and gone whatever ends it" 0 \
	'^all of it worked$' \
	"$TOP/tests/vm/guest-run" --mem 256M --timeout 200 --module ext4 --disk "$T/disk" -- \
	"$TOP/tests/vm/_bench_hostswap.py" /dev/vda
