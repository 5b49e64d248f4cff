#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# memswap's command line, without a kernel that could attach anything: what is typed wrong is a
# usage error (2) with its reason, what can't be done is refused (1) with the remedy, and
# neither leaves anything behind. The verbs at work are in tests/vm/memswap-*.sh.
. "$(dirname "$0")/../lib.sh"

# Where nobody minds: own mounts, an empty /run, no kernel module to be had. (No swap is ever
# switched on here: there is no device.)
enter() {
	mount -t tmpfs none /run || return 125
	helper=$(readlink -f "$(cat /proc/sys/kernel/modprobe 2>/dev/null || echo /sbin/modprobe)")
	[ ! -e "$helper" ] || mount --bind /bin/false "$helper" || return 125
	"$@"
	local status=$?
	ls -A /run/memswap 2>/dev/null >"$T/left"
	grep ^/dev /proc/swaps >>"$T/left"
	return $status
}
if [ "${1:-}" = --inside ]; then
	trap - EXIT
	rmdir "$T"
	T=$2
	shift 2
	enter "$@"
	exit
fi
plan 60
memswap=$B/memswap
inside() {
	unshare -m bash "$TOP/tests/conformance/memswap.sh" --inside "$T" "$@"
}
# nobody COMMAND...: as a user without rights.
chmod 755 "$T"
cp "$memswap" "$T/memswap"
chmod 755 "$T/memswap"
nobody() {
	setpriv --reuid 65534 --regid 65534 --clear-groups "$T/memswap" "$@"
}

# -- typed wrong --
typed() {
	local pattern=$1 words

	shift
	words=$*
	refuses "typed wrong: memswap ${words:0:60}" 2 "$pattern" "$memswap" "$@"
}
typed 'memswap on URL'
typed 'no verb "frob"' frob
typed 'no verb "ON"' ON nbd://h/x
typed 'needs one URL' on
typed 'needs one URL' on nbd://h/x nbd://h/y
typed 'unknown option --zap' on --zap nbd://h/x
typed 'needs a value' on nbd://h/x --priority
typed 'from 1 to 32767' on -p 0 nbd://h/x
typed 'from 1 to 32767' on -p 32768 nbd://h/x
typed 'from 1 to 32767' on -p -1 nbd://h/x
typed 'from 1 to 32767' on -p 1x nbd://h/x
typed '"keep" or a size' on --min-free 1K nbd://h/x
typed '"keep" or a size' on --min-free lots nbd://h/x
typed 'from 1 to 16' on --connections 17 nbd://h/x
typed 'from 1 to 3600' on --timeout 0 nbd://h/x
typed 'from 1 to 1024' on --nr-io-queues 0 nvme-tcp://h/x
typed 'from 16 to 1024' on --queue-size 15 nvme-tcp://h/x
typed '--connections has no meaning for nvme-tcp' on --connections 2 nvme-tcp://h/x
typed '--timeout has no meaning for nvme-tcp' on --timeout 2 nvme-tcp://h/x
typed '--queue-size has no meaning for iscsi' on --queue-size 32 iscsi://h/x
typed '--hdr-digest has no meaning for nbd' on --hdr-digest nbd+unix:///x?socket=/s
typed '--auth has no meaning for nbd' on --auth /f nbd://h/x
typed '--connections has no meaning for iscsi' on --connections 2 iscsi://h/x
typed '--data-digest has no meaning for iscsi' on --data-digest iscsi://h/x
typed 'takes no URL' on --all nbd://h/x
typed 'takes no URL' off --all nbd://h/x
typed 'unknown option' off --zap
typed 'unknown option' status --zap

# -- URLs --
typed 'must begin with' on ''
typed 'must begin with' on http://h/x
typed 'must begin with' on NBD://h/x
typed 'no host' on nbd:///x
typed 'no export' on nvme-tcp://h
typed 'no export' on iscsi://h/
typed 'port must be' on nbd://h:0/x
typed 'port must be' on nbd://h:65536/x
typed 'without "\]"' on 'nbd://[::1/x'
typed 'brackets are for IPv6' on 'nbd://[h]/x'
typed 'needs "\?socket=PATH"' on nbd+unix:///x
typed 'absolute path' on 'nbd+unix:///x?socket=s'
typed 'bad %XX escape' on nbd://h/%zz
typed 'too long' on "nbd://h/$(printf 'x%.0s' {1..300})"
typed 'too long' on "nbd://$(printf 'h%.0s' {1..300})/x"

# -- help, version, status: for everybody --
check "help tells every transport" sh -c \
	"'$memswap' --help | grep -q nvme-tcp:// && '$memswap' on --help | grep -q iscsi:// && '$memswap' -h | grep -q nbd+unix://"
check "the version is the source's" sh -c "'$memswap' --version | grep -qx 'memswap $(cat "$TOP/VERSION")'"
check "status works without rights" nobody status
equal "status of nothing, as JSON, is an empty list" "$(nobody status --json | tr -d ' \n')" '[]'
for verb in "on nbd://127.0.0.1/x" "on iscsi://127.0.0.1/x" "on --all"; do
	# shellcheck disable=SC2086
	refuses "without root: $verb" 1 'needs root' nobody $verb
done
refuses "without root: off" 1 'needs root' nobody off

# -- refused, nothing left --
if ! inside true 2>/dev/null; then
	for what in "NBD's module" "NVMe's" "iSCSI's" "nothing is left" "off knows nothing" "off of a URL" \
		"on --all without its file" "a mistake in the file"; do
		skip "$what" "mounts of its own need root"
	done
	exit
fi
refuses "without the kernel's nbd it says what is missing" 1 'module nbd can.t be loaded.*linux-image' \
	inside "$memswap" on nbd://127.0.0.1:1/x
equal "and leaves nothing" "$(cat "$T/left")" ''
refuses "without nvme-tcp" 1 'module nvme[-_]tcp can.t be loaded|nvme-fabrics' \
	inside "$memswap" on nvme-tcp://127.0.0.1:1/x
refuses "without iscsi_tcp, or open-iscsi" 1 'module iscsi_tcp can.t be loaded|install the package open-iscsi' \
	inside "$memswap" on iscsi://127.0.0.1:1/x
equal "nothing is left of all that" "$(cat "$T/left")" ''
refuses "off with nothing attached" 2 'nothing is attached' inside "$memswap" off
refuses "off of what is not attached" 1 'not attached by memswap' inside "$memswap" off nbd://127.0.0.1/x
check "off --all of nothing is fine" inside "$memswap" off --all
urls_file() {
	printf '%s\n' "$@" >"$T/urls"
	# A container's /etc may lack the file that is to be covered.
	mkdir -p "$T/etc" && cp "$T/urls" "$T/etc/memswap.urls"
	inside sh -c "mount -t overlay -o lowerdir=$T/etc:/etc none /etc && '$memswap' on --all"
}
if inside sh -c "mkdir -p $T/etc; mount -t overlay -o lowerdir=$T/etc:/etc none /etc" 2>/dev/null; then
	refuses "on --all: a mistake is told with its line" 1 'memswap.urls:2' urls_file '# ours' 'nbd://h:0/x'
else
	skip "on --all: a mistake is told with its line" "no overlay here"
fi
