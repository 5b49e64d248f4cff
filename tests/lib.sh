# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# TAP for tests in shell. A test begins
#     #!/bin/bash
#     # SPDX-License-Identifier: GPL-2.0-or-later
#     . "$(dirname "$0")/../lib.sh"
#     plan 2
# and has then: $B (folder of the built programs), $TOP (root of the sources), $T (a
# folder of its own, removed at the end). Servers it has started end with it.
set -u

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
B=${B:-$TOP/build}
T=$(mktemp -d "${TMPDIR:-/tmp}/t.XXXXXX")
tap_folders=("$T") # removed at the end
tap_count=0
tap_planned=
tap_failed=0
declare -A server_pid=() # by name, see start_server

# plan N: before the first test, how many there will be.
plan() {
	tap_planned=$1
	echo "1..$1"
}

# plan_skip REASON: nothing here can run; ends the test.
plan_skip() {
	tap_planned=0
	echo "1..0 # SKIP $*"
	exit 0
}

# ok SENTENCE, not_ok SENTENCE, skip SENTENCE REASON
ok() {
	echo "ok $((++tap_count)) - $*"
}
not_ok() {
	tap_failed=$((tap_failed + 1))
	echo "not ok $((++tap_count)) - $*"
}
skip() {
	echo "ok $((++tap_count)) - $1 # SKIP $2"
}

# diag TEXT..., or diag <FILE: lines that only people read.
diag() {
	if [ $# -gt 0 ]; then
		printf '%s\n' "$*"
	else
		cat
	fi | sed 's/^/# /'
}

# check SENTENCE COMMAND...: ok if the command succeeds; else its output is shown.
# It runs in this shell, so functions work and variables stay.
check() {
	local sentence=$1 status

	shift
	"$@" >"$T/check.out" 2>&1 </dev/null
	status=$?
	if [ $status -eq 0 ]; then
		ok "$sentence"
	else
		not_ok "$sentence"
		diag "status $status: $*"
		tail -n 60 "$T/check.out" | diag
	fi
	return $status
}

# refuses SENTENCE STATUS PATTERN COMMAND...: ok if the command ends with this status
# and says something that matches the extended regular expression.
refuses() {
	local sentence=$1 want=$2 pattern=$3 status

	shift 3
	"$@" >"$T/check.out" 2>&1 </dev/null
	status=$?
	if [ $status -eq "$want" ] && grep -Eq -- "$pattern" "$T/check.out"; then
		ok "$sentence"
		return 0
	fi
	not_ok "$sentence"
	diag "status $status, wanted $want, and a line like '$pattern': $*"
	tail -n 60 "$T/check.out" | diag
	return 1
}

# equal SENTENCE GOT WANTED
equal() {
	if [ "$2" = "$3" ]; then
		ok "$1"
		return 0
	fi
	not_ok "$1"
	diag "got:    $2"
	diag "wanted: $3"
	return 1
}

# free_port: prints a TCP port nobody listens on, below those the kernel gives out itself.
free_port() {
	/usr/bin/python3 -c '
import random, socket
while True:
    port = random.randint(10240, 32000)
    try:
        with socket.socket() as s:
            s.bind(("", port))
        print(port)
        break
    except OSError:
        pass'
}

# new_pool: makes a folder on a tmpfs for a memserver (--pool "$POOL"), removed at the end.
new_pool() {
	POOL=$(mktemp -d /dev/shm/t.XXXXXX)
	tap_folders+=("$POOL")
}

# wait_for SECONDS COMMAND...: until it succeeds. Only for what gives no event.
wait_for() {
	local end=$((SECONDS + $1))

	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

# port_open PORT [HOST]: does somebody listen?
port_open() {
	(exec 3<>"/dev/tcp/${2:-127.0.0.1}/$1") 2>/dev/null
}

# start_server NAME PATTERN COMMAND...: runs it in the background, output in $T/NAME.log;
# returns once a line of it matches PATTERN ('' for at once), or says why it never will.
start_server() {
	local name=$1 pattern=$2 end=$((SECONDS + 60))

	shift 2
	: >"$T/$name.log"
	"$@" >>"$T/$name.log" 2>&1 </dev/null &
	server_pid[$name]=$!
	while [ -n "$pattern" ] && ! grep -Eq -- "$pattern" "$T/$name.log"; do
		if ! kill -0 "${server_pid[$name]}" 2>/dev/null || [ $SECONDS -ge $end ]; then
			diag "$name never said '$pattern': $*"
			tail -n 40 "$T/$name.log" | diag
			return 1
		fi
		sleep 0.02
	done
}

# alive NAME: is this server still there?
alive() {
	[ -n "${server_pid[$1]:-}" ] && kill -0 "${server_pid[$1]}" 2>/dev/null
}

# stop_server NAME [SIGNAL]: ends it (TERM) and returns its status; one that doesn't end
# within 20 seconds is killed (status 137).
stop_server() {
	local pid=${server_pid[$1]:-} end=$((SECONDS + 20))

	[ -n "$pid" ] || return 0
	unset "server_pid[$1]"
	kill -"${2:-TERM}" "$pid" 2>/dev/null
	while kill -0 "$pid" 2>/dev/null; do
		[ $SECONDS -lt $end ] || kill -KILL "$pid" 2>/dev/null
		sleep 0.01
	done
	wait "$pid" 2>/dev/null
}

# server_log NAME: the end of its output, as diagnostics.
server_log() {
	diag "the last lines of $1:"
	tail -n 40 "$T/$1.log" | diag
}

tap_end() {
	local status=$? name

	# A subshell that a signal reaches before it has reset our traps comes here too.
	[ "$BASHPID" = $$ ] || exit $status
	trap - EXIT
	for name in "${!server_pid[@]}"; do
		stop_server "$name"
	done
	cd / && rm -rf "${tap_folders[@]}"
	[ -n "$tap_planned" ] || echo "1..$tap_count"
	[ "${tap_planned:-$tap_count}" = $tap_count ] || status=1
	[ $status -ne 0 ] || [ $tap_failed -eq 0 ] || status=1
	exit $status
}
trap tap_end EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
