# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# For tests of memswap in a guest against memserver on the host. Such a test is one file
# that runs twice:
#     #!/bin/bash
#     # SPDX-License-Identifier: GPL-2.0-or-later
#     . "$(dirname "$0")/lib_memswap.sh"
#     in_guest || serve --mem 256M --cpus 2       # never returns
#     plan 1
#     check "..." "$memswap" on "$nbd"
# On the host, serve starts a memserver, runs the file in a guest, whose TAP goes to
# stdout as it is, and does meanwhile what the guest asks it to by `host WORDS...`.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

memswap=$B/memswap
hog=$B/bench/swap/hog

in_guest() {
	[ -n "${MEMSWAP_SHARE:-}" ] || return 1
	nvme=nvme-tcp://10.0.2.2:$MEMSWAP_NVME
	nbd=nbd://10.0.2.2:$MEMSWAP_NBD
	both=("$nbd/default" "$nvme/default")
	iscsi=iscsi://10.0.2.2:$MEMSWAP_ISCSI
}

# ---- on the host ----

start_memserver() {
	start_server memserver 'ready: nbd' "$B/memserver" "${exports[@]}" \
		--nvme "127.0.0.1:$MEMSWAP_NVME" --nbd "127.0.0.1:$MEMSWAP_NBD" \
		--discovery off --metrics off --control "$T/control" --pool "$pool" "${doors[@]}"
}

# What the guest may ask for; the output is the answer.
host_kill() {
	stop_server memserver KILL
}
host_start() {
	start_memserver
}
# restart SECONDS: killed, and started so much later, without the guest's doing.
host_restart() {
	stop_server memserver KILL
	sleep "$1"
	start_memserver
}
# Freezes it, and lets it go on.
host_freeze() {
	kill -STOP "${server_pid[memserver]}"
}
host_thaw() {
	kill -CONT "${server_pid[memserver]}"
}
# kill_tgtd: of a memserver with iSCSI; it starts another.
host_kill_tgtd() {
	kill -KILL "$(tgtd_pid)"
}
# freeze_tgtd, thaw_tgtd: of such a one.
host_freeze_tgtd() {
	frozen_tgtd=$(tgtd_pid)
	kill -STOP "$frozen_tgtd"
}
host_thaw_tgtd() {
	kill -CONT "$frozen_tgtd"
}
tgtd_pid() {
	"$B/memctl" -s "$T/control" --json stat |
		/usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["iscsi"]["pid"])'
}
# The bytes are gone, as after a reboot of the host.
host_forget() {
	rm -rf "${pool:?}"/*
}
# resident EXPORT: bytes of memory it takes.
host_resident() {
	"$B/memctl" -s "$T/control" --json list |
		/usr/bin/python3 -c '
import json, sys
name, said = sys.argv[1], json.load(sys.stdin)
exports = said if isinstance(said, list) else said["exports"]
print(next(e for e in exports if e["name"] == name)["resident"])' "$1"
}
host_memctl() {
	"$B/memctl" -s "$T/control" "$@"
}

# serve GUEST-RUN-OPTIONS...: see above. `exports` may be set before, and prepare be a
# function that sets `doors` (more flags of memserver) and fills $MEMSWAP_SHARE.
serve() {
	local guest words

	MEMSWAP_SHARE=$T/share
	MEMSWAP_NVME=$(free_port)
	MEMSWAP_NBD=$(free_port)
	MEMSWAP_ISCSI=$(free_port)
	export MEMSWAP_SHARE MEMSWAP_NVME MEMSWAP_NBD MEMSWAP_ISCSI
	mkdir "$MEMSWAP_SHARE"
	pool=$(mktemp -d /dev/shm/memswap-test.XXXXXX)
	tap_folders+=("$pool")
	[ -n "${exports[*]:-}" ] || exports=(--export 512M)
	doors=()
	! declare -F prepare >/dev/null || prepare
	tap_planned=0 # the guest speaks
	start_memserver || exit 1
	"$TOP/tests/vm/guest-run" --share "$MEMSWAP_SHARE" "$@" -- bash "$0" </dev/null &
	guest=$!
	while kill -0 $guest 2>/dev/null; do
		if [ -e "$MEMSWAP_SHARE/ask" ]; then
			read -ra words <"$MEMSWAP_SHARE/ask"
			rm "$MEMSWAP_SHARE/ask"
			"host_${words[0]}" "${words[@]:1}" >"$T/answer" 2>&1
			mv "$T/answer" "$MEMSWAP_SHARE/answer"
		fi
		sleep 0.02
	done
	wait $guest
	guest=$?
	[ $guest = 0 ] || server_log memserver >&2
	exit $guest
}

# ---- in the guest ----

# host WORDS...: has the host do it, prints its answer.
host() {
	echo "$*" >"$MEMSWAP_SHARE/ask.new"
	mv "$MEMSWAP_SHARE/ask.new" "$MEMSWAP_SHARE/ask"
	until [ -e "$MEMSWAP_SHARE/answer" ]; do
		sleep 0.02
	done
	cat "$MEMSWAP_SHARE/answer"
	rm "$MEMSWAP_SHARE/answer"
}

# status KEY [URL]: that field of `memswap status --json`, of the first or of this URL.
status() {
	"$memswap" status --json | /usr/bin/python3 -c '
import json, sys
key, url = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
for a in json.load(sys.stdin):
    if a["url"].startswith(url):
        print(a[key])
        break' "$@"
}

is() {
	[ "$1" = "$2" ]
}
state_is() {
	is "$(status state)" "$1"
}

# From here on the test's own shell and what it runs are never swapped out (a load of
# start_load is): else nobody could bring a dead server back.
keep_shell_in_memory() {
	mkdir -p /sys/fs/cgroup/shell
	echo 0 >/sys/fs/cgroup/shell/memory.swap.max
	echo $$ >/sys/fs/cgroup/shell/cgroup.procs
}

# start_load LIMIT HOG-ARGUMENTS...: hog in a cgroup with this memory limit, output in
# $T/hog.out; returns when it has filled its memory ($fill_seconds, 120, at most), or says
# what became of it.
start_load() {
	local limit=$1 cgroup=/sys/fs/cgroup/load

	shift
	mkdir -p "$cgroup"
	echo "$limit" >"$cgroup/memory.max"
	: >"$T/hog.out"
	(
		echo "$BASHPID" >"$cgroup/cgroup.procs"
		exec "$hog" --events "$@"
	) >"$T/hog.out" 2>&1 &
	load_pid=$!
	wait_for "${fill_seconds:-120}" load_has_filled_or_ended
	grep -q filled "$T/hog.out" && return 0
	cat "$T/hog.out"
	grep . "$cgroup"/memory.{current,max,events} "$cgroup"/memory.swap.{current,events} /proc/swaps
	dmesg | tail -n 60
	return 1
}
load_has_filled_or_ended() {
	grep -q filled "$T/hog.out" || ! kill -0 "$load_pid"
}

# Waits for it; its status.
end_load() {
	wait "$load_pid"
}

count_swapped_in() {
	awk '$1 == "pswpin" { print $2 }' /proc/vmstat
}
swapped_in_since() {
	[ "$(count_swapped_in)" -gt $(($1 + ${2:-500})) ]
}
