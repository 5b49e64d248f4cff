#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vmemdirect's command line: what makes no sense is refused before a VM is touched, by name.
. "$(dirname "$0")/../lib.sh"
plan 13

V=$B/vmemdirect

# wrong SENTENCE PATTERN VERB OPTIONS...
wrong() {
	local sentence=$1 pattern=$2

	shift 2
	refuses "$sentence" 2 "$pattern" "$V" "$@"
}
wrong "attach wants a VM" '--qmp SOCKET, --domain NAME or --pid PID' attach --ram 1G --tier null
wrong "attach wants a limit" '--ram SIZE' attach --pid $$ --tier null
wrong "attach wants a place for pages" '--ssd PATH, --spill URL' attach --pid $$ --ram 1G
wrong "attach has no option of receive" 'attach: it has no option --listen' \
	attach --pid $$ --ram 1G --tier null --listen tcp:0:4444
wrong "receive has no option of attach" 'receive: it has no option --pid' \
	receive --listen tcp:0:4444 --pid $$ --ram 1G --tier null
wrong "receive wants to know where the source connects" '--listen HOST:PORT' \
	receive --qmp "$T/qmp" --ram 1G --tier null
wrong "watch pages nothing, so it has no limit" 'watch: it has no option --ram' \
	watch --pid $$ --to localhost:1 --ram 1G
wrong "watch wants a receiver" '--to HOST:PORT' watch --pid $$
wrong "a mirror wants two hosts" '--mirror 2 needs exports of two hosts' \
	attach --pid $$ --ram 1G --mirror 2 --spill nbd://localhost/one
wrong "a size that is none is named" '--ram plenty: not a size' attach --ram plenty
wrong "an option nobody knows is named" "unrecognized option '--nonsense'" attach --nonsense
wrong "metrics are for this host" 'a loopback address' attach --metrics 0.0.0.0:9403
wrong "a verb nobody knows" 'usage: vmemdirect' adopt
