#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
# The recipe for libvirt of docs/migration.md, with a real libvirtd.
. "$(dirname "$0")/../lib.sh"
plan 1

truncate -s 256M "$T/swap"
refuses "a libvirt domain moves into another that waits, is paged there and verifies; libvirt knows what became of both" 0 \
	'^all of it worked$' \
	"$TOP/tests/vm/guest-run" --nested --module kvm_amd --mem 1200M --timeout 400 --boot-timeout 200 \
	--disk "$T/swap" -- \
	"$TOP/tests/vm/_migrate_libvirt" "$B"
