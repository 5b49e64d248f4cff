#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 400
# iSCSI by memserver's own tgtd, against libiscsi's tools and qemu: names, bytes, memory,
# who may come in, one door at a time, what happens when tgtd is killed.
. "$(dirname "$0")/../lib.sh"
plan 93

new_pool
iscsi=$(free_port) nbd=$(free_port) nvme=$(free_port)
S=$T/run/control
IQN=iqn.2026-11.io.remem
doors=(--iscsi "127.0.0.1:$iscsi" --nbd "127.0.0.1:$nbd" --nvme "127.0.0.1:$nvme"
	--discovery off --metrics off --control "$S")

memctl() {
	"$B/memctl" -s "$S" "$@"
}
# json COMMAND... EXPRESSION: what the expression says of the command's JSON, in `j`.
json() {
	local expression=${*: -1}

	"$B/memctl" -s "$S" --json "${@:1:$#-1}" |
		/usr/bin/python3 -c "import json, sys; j = json.load(sys.stdin); print($expression)"
}
url() {
	echo "iscsi://${2:-}127.0.0.1:$iscsi/$IQN:$1/1"
}
# io URL COMMAND...: qemu-io's commands, all of which must succeed.
io() {
	local at=$1 args=() out c

	shift
	for c in "$@"; do
		args+=(-c "$c")
	done
	out=$(timeout 60 qemu-io -f raw "${args[@]}" "$at" 2>&1) || {
		echo "$out"
		return 1
	}
	echo "$out"
	! grep -Eiq 'error|failed' <<<"$out"
}
nbd() {
	io "nbd://127.0.0.1:$nbd/$1" "${@:2}"
}
# The account, the file and `list` say the same.
resident() {
	json stat "$1" "j['exports'][0]['resident']"
}
stored() {
	echo $(($(stat -c %b "$POOL/$1.mem") * 512))
}
tgtd_pid() {
	json stat "(j['iscsi'] or {}).get('pid', 0)"
}
# start_session NAME EXPORT: an initiator that stays and reads.
start_session() {
	start_server "$1" connected iscsi-perf -n -x -1 -m 4 -b 1 "$(url "$2")"
}
sessions() {
	json who "sum(c['front'] == 'iscsi' and c['export'] == '$1' for c in j)"
}
has_session() {
	[ "$(sessions "$1")" = 1 ]
}
no_session() {
	[ "$(sessions "$1")" = 0 ]
}
offered() {
	timeout 20 iscsi-ls "iscsi://127.0.0.1:$iscsi" | grep -q "Target:$IQN:$1 "
}
not_offered() {
	! offered "$1"
}
start() {
	start_server memserver "ready: iscsi" "$B/memserver" "${doors[@]}" --pool "$POOL" "$@"
}

# ---- a target for each export ----

check "memserver starts a tgtd" start --export 256M --export b=64M --export q=64M,quota=1M
check "discovery lists an export" offered default
check "and the other" offered b
check "and its name with the generation" offered "default:$(json list "j[1]['generation']")"
check "an export with a quota is not offered" not_offered q
check "the log says why" grep -q "export q is not offered: it has a quota" "$T/memserver.log"
check "LUN 1 is a disk of remem's" sh -c "timeout 20 iscsi-inq '$(url default)' | grep -q 'Vendor:remem'"
check "its serial is the export's generation" sh -c \
	"timeout 20 iscsi-inq -e 1 -c 128 '$(url default)' | grep -q '$(json list "j[1]['generation']")'"
check "no process shows a system tgtd disturbed" test ! -e "/run/tgtd/socket.1" -o -S "$POOL/tgtd.1"

# ---- bytes and memory ----

check "what is written is read" io "$(url default)" 'write -P 0x5a 0 8M' 'read -P 0x5a 0 8M'
equal "it is in the account" "$(resident default)" $((8 << 20))
check "NBD reads the same bytes" nbd default 'read -P 0x5a 0 8M' 'read -P 0 8M 1M'
check "and writes others" nbd default 'write -P 0x77 9M 1M'
wait_for 20 offered default
check "iSCSI reads those" io "$(url default)" 'read -P 0x77 9M 1M' 'read -P 0x5a 0 8M'
check "4 KiB that are discarded read as zeros" io "$(url default)" 'discard 4k 4k' 'read -P 0x5a 0 4k' \
	'read -P 0 4k 4k' 'read -P 0x5a 8k 4k'
equal "and come back to the host" "$(resident default)" $(((9 << 20) - 4096))
equal "the account is that of the file" "$(resident default)" "$(stored default)"
# The bitmap of present pages was that of NBD; the bytes have changed behind it since.
check "holes that iSCSI filled, and pages it discarded" io "$(url default)" 'write -P 0x33 16M 1M' 'discard 9M 1M'
check "NBD sees neither stale zeros nor old bytes" nbd default 'read -P 0x33 16M 1M' 'read -P 0 9M 1M' \
	'read -P 0 4k 4k' 'read -P 0x5a 8k 4k'
equal "the account is exact after the return" "$(resident default)" "$(stored default)"
wait_for 20 offered default
for suite in Read10 Write10 Read16 Write16 Inquiry ReadCapacity16 CompareAndWrite Unmap.Simple Unmap.VPD \
	iSCSITMF; do
	check "libiscsi's suite passes: $suite" timeout 120 iscsi-test-cu -d -f -s -n -t "ALL.$suite" "$(url b)"
done

# ---- one door at a time ----

check "an initiator logs in" start_session user default
check "who shows it" wait_for 20 has_session default
equal "with its name" "$(json who "[c['client'] for c in j]")" "['iqn.2010-11.libiscsi:iscsi-perf']"
equal "and counts it as a user" "$(json list "j[1]['users']")" 1
refuses "NBD is refused meanwhile" 1 "in use over iSCSI" nbd default 'read 0 4k'
check "the other export is not concerned" nbd b 'read 0 4k'
refuses "it can't be dropped" 1 "in use over iSCSI" memctl drop default
refuses "nor resized" 1 "in use over iSCSI" memctl resize default 512M
refuses "nor given a limit, which tgtd could not keep" 1 "in use over iSCSI" memctl limit default --iops 100
refuses "limits of clients are refused with iSCSI" 1 "tgtd knows no limits" memctl limit --clients --iops 100
kick=$(json who "[c['id'] for c in j][0]")
check "it can be kicked" memctl kick "$kick"
check "and comes back by itself" wait_for 20 has_session default
check "under another id" test "$(json who "[c['id'] for c in j][0]")" != "$kick"
stop_server user
check "when it goes who forgets it" wait_for 30 no_session default
check "then it gets a limit" memctl limit default --iops 100 --bandwidth 8M
check "and is not offered any more" not_offered default
check "without the limit" memctl limit default --iops none --bandwidth none
check "it is" wait_for 20 offered default

# ---- exports come, change and go ----

check "a new export" memctl create new 32M
check "has a target at once" offered new
check "it is grown" memctl resize new 48M
check "and initiators see the new size" io "$(url new)" 'write -P 0x11 47M 1M' 'read -P 0x11 47M 1M'
check "it is dropped" memctl drop new
check "its target is gone" not_offered new
check "an initiator on b" start_session user b
wait_for 20 has_session b
check "does not stop a forced drop" memctl drop --force b
check "its target is gone too" not_offered b
check "and its bytes" test ! -e "$POOL/b.mem"
stop_server user

# ---- tgtd is killed ----

check "an initiator at work" start_session user default
wait_for 20 has_session default
# (sessions are counted once a second; it has to be known to be waited for)
wait_for 20 test "$(json list "j[0]['users']")" = 1
pid=$(tgtd_pid)
kill -KILL "$pid"
refuses "while it is away nobody else gets the export" 1 "in use over iSCSI|tgtd" nbd default 'read 0 4k'
another() {
	local now

	now=$(tgtd_pid)
	[ "$now" != 0 ] && [ "$now" != "$pid" ]
}
check "another tgtd serves" wait_for 30 another
check "the initiator is back" wait_for 60 has_session default || server_log memserver
equal "one restart is counted" "$(json stat "j['iscsi']['restarts']")" 1
stop_server user
wait_for 30 no_session default
check "the bytes are the same" io "$(url default)" 'read -P 0x33 16M 1M' 'read -P 0 9M 1M' 'read -P 0x5a 8k 4k'
pid=$(tgtd_pid)
kill -STOP "$pid"
refuses "a tgtd that hangs makes NBD fail, not wait" 1 "can't be had now|in use" nbd default 'read 0 4k'
check "and is killed and replaced in time" wait_for 90 another
check "which serves" wait_for 30 offered default

# ---- the end ----

pid=$(tgtd_pid)
stop_server memserver
check "no tgtd is left" test ! -e "/proc/$pid"
check "nor its socket" sh -c "! ls $POOL/tgtd*"
check "memserver starts again" start --export 256M
check "with the same bytes" io "$(url default)" 'read -P 0x33 16M 1M' 'read -P 0x5a 8k 4k'
pid=$(tgtd_pid)
stop_server memserver KILL
check "its tgtd does not outlive a killed memserver" wait_for 10 test ! -e "/proc/$pid"

# ---- who may come in ----

cat >"$T/secrets" <<'END'
# two may log in, and the target proves itself
initiator alice alicesecret1234
initiator carol carolsecret1234
target memserver serversecret5678
END
chmod 644 "$T/secrets"
refuses "secrets that others can read are refused" 1 "chmod 600" "$B/memserver" "${doors[@]}" --pool "$POOL" \
	--export 256M --iscsi-auth "$T/secrets"
chmod 600 "$T/secrets"
check "memserver asks for CHAP" start --export 256M --iscsi-auth "$T/secrets" --log-level debug
refuses "nobody comes in without" 1 "[Ll]ogin|[Aa]uth" io "$(url default)" 'read 0 4k'
refuses "nor with the wrong secret" 1 "[Ll]ogin|[Aa]uth" io "$(url default alice%wrongsecret1234@)" 'read 0 4k'
check "the right one comes in" io "$(url default alice%alicesecret1234@)" 'read -P 0x33 16M 1M'
check "both sides prove themselves" timeout 20 iscsi-inq \
	"$(url default carol%carolsecret1234@)?target_user=memserver&target_password=serversecret5678"
refuses "a target with another secret is not believed" 10 "." timeout 20 iscsi-inq \
	"$(url default carol%carolsecret1234@)?target_user=memserver&target_password=notthissecret9"
seen() {
	cat /proc/"${server_pid[memserver]}"/cmdline /proc/"$(tgtd_pid)"/cmdline \
		/proc/"$(tgtd_pid)"/environ "$T/memserver.log"
	memctl show config
}
check "no secret shows in a command line, the log or the configuration" sh -c "! grep -a secret[15] <<'END'
$(seen | tr '\0' ' ')
END"
stop_server memserver

check "with a list of initiators' names" start --export 256M --allow iqn.2026-11.test:me
refuses "another name is refused" 1 "." io "$(url default)" 'read 0 4k'
check "the right name comes in" timeout 20 iscsi-inq -i iqn.2026-11.test:me "$(url default)"
stop_server memserver
refuses "names and addresses at once" 2 "either addresses or names" "$B/memserver" "${doors[@]}" --export 1M \
	--allow iqn.2026-11.test:me --allow 10.0.0.0/8

# ---- a full pool ----

refuses "a pool's limit that the tmpfs can't keep is refused" 1 "the tmpfs itself must keep" \
	"$B/memserver" "${doors[@]}" --pool "$POOL" --pool-limit 64M
mkdir "$T/mnt"
check "a pool of 64 MiB" start_server memserver "ready: iscsi" "$B/memserver" "${doors[@]}" --pool "$T/mnt" \
	--pool-limit 64M --export default=128M --export b=32M
check "an export takes a quarter" io "$(url b)" 'write -P 0x21 0 16M'
refuses "a write that does not fit fails" 1 "error" io "$(url default)" 'write -P 0x22 0 72M'
check "the other export has its bytes, and serves" io "$(url b)" 'read -P 0x21 0 16M' 'write -P 0x23 0 1M' \
	'read -P 0x23 0 1M'
check "what is discarded can be stored again" io "$(url default)" 'discard 0 128M' 'write -P 0x24 32M 16M' \
	'read -P 0x24 32M 16M'
stop_server memserver
umount "$T/mnt"

# ---- what can't be done is said ----

without() {
	unshare -m sh -c "mount --bind '$1' /usr/sbin/tgtd && exec \"\$0\" \"\$@\"" \
		"$B/memserver" "${doors[@]}" --pool "$POOL" --export 256M
}
refuses "a missing tgtd" 1 "tgtd is not installed.*package tgt" without /dev/null
printf '#!/bin/sh\necho 1.0.41\n' >"$T/old"
chmod +x "$T/old"
refuses "a tgtd that is too old" 1 "version '1.0.41', 1.0.74 or newer" without "$T/old"
refuses "iSER, with the reason" 2 "not offered: tgtd takes RDMA" "$B/memserver" --iser --export 1M
