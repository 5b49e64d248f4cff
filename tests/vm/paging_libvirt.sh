#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
# A domain of a real libvirtd, by its name.
. "$(dirname "$0")/../lib.sh"
plan 1

refuses "a libvirt domain is paged by its name; private memory and an unknown name are refused" 0 \
	'^all of it worked$' \
	"$TOP/tests/vm/guest-run" --mem 640M --timeout 300 -- "$TOP/tests/vm/_paging_libvirt" "$B"
