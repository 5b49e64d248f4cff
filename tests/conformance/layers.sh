#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# flavour: plain
# The check of who may include whom, on small trees of its own.
. "$(dirname "$0")/../lib.sh"
plan 24

# tree FILE HEADER: a tree with one source that has this one include.
tree() {
	rm -rf "$T/tree"
	mkdir -p "$T/tree/$(dirname "$1")"
	printf '#include <stdio.h>\n#include "%s"\n' "$2" >"$T/tree/$1"
}
allowed() {
	tree "$2" "$3"
	check "$1" "$TOP/tests/lint/layers" "$T/tree"
}
forbidden() {
	tree "$2" "$3"
	refuses "$1" 1 "^$2:2: \"$3\": ." "$TOP/tests/lint/layers" "$T/tree"
}

allowed "a front end sees the connection" memserver/nbd/nbd.c memserver/conn.h
allowed "a front end sees its own room" memserver/nbd/nbd.c memserver/nbd/options.h
forbidden "a front end doesn't see the pool" memserver/nbd/nbd.c memserver/pool.h
forbidden "a front end doesn't see another" memserver/nbd/nbd.c memserver/nvme/nvme.h
forbidden "a front end doesn't see the configuration" memserver/nvme/admin.c memserver/config.h
allowed "an export sees the pool" memserver/export.c memserver/pool.h
forbidden "the pool doesn't see the export" memserver/pool.c memserver/export.h
forbidden "nobody sees ctl" memserver/worker.c memserver/ctl.h
allowed "main sees ctl" memserver/main.c memserver/ctl.h
allowed "ctl sees all" memserver/ctl.c memserver/pool.h
forbidden "not even ctl sees the other program" memserver/ctl.c vmemdirect/qmp.h
forbidden "lib knows nobody" lib/log.c memserver/pool.h
forbidden "memserver doesn't see vmemdirect" memserver/worker.c vmemdirect/uffd.h
forbidden "vmemdirect doesn't see memserver" vmemdirect/tier/remote.c memserver/conn.h
forbidden "a client doesn't see memserver" client/memctl.c memserver/ctl.h
forbidden "a tier doesn't see the pager" vmemdirect/tier/ssd.c vmemdirect/pager/pager.h
allowed "the pager sees the tier" vmemdirect/pager/evict.c vmemdirect/tier/tier.h
allowed "migrate sees the pager's door" vmemdirect/migrate/router.c vmemdirect/pager/pager.h
forbidden "migrate sees no other part of the pager" vmemdirect/migrate/router.c vmemdirect/pager/page.h
forbidden "attach doesn't see the pager" vmemdirect/attach/attach.c vmemdirect/pager/pager.h
forbidden "kmod sees no more than rmem.h" kmod/rmem.c lib/log.h
forbidden "includes are root-relative" memserver/pool.c pool.h
mkdir "$T/empty"
refuses "a tree without sources isn't a good one" 1 "no sources" "$TOP/tests/lint/layers" "$T/empty"
check "this tree keeps the rules" "$TOP/tests/lint/layers"
