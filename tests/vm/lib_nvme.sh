# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What _nvme-auth.sh and _nvme-tls.sh have in common: a memserver and the kernel's host on one
# loopback.

pool=/dev/shm/pool
nqn=nqn.2026-11.io.remem
host=nqn.2014-08.org.nvmexpress:uuid:7d3a5ab4-5d3c-4b0e-9a0e-0d1f3c2b1a00
other=nqn.2014-08.org.nvmexpress:uuid:7d3a5ab4-5d3c-4b0e-9a0e-0d1f3c2b1a01
bare=nqn.2014-08.org.nvmexpress:uuid:7d3a5ab4-5d3c-4b0e-9a0e-0d1f3c2b1a02
id=7d3a5ab4-5d3c-4b0e-9a0e-0d1f3c2b1a00
hosts=/run/hosts

write_hosts() {
	(umask 077 && printf '%s\n' "$@" >$hosts.new) && mv $hosts.new $hosts
}
start_nvme_server() { # FLAG...
	mkdir -p $pool
	start_server memserver 'ready: nvme-discovery' "$B/memserver" --export default=64M \
		--export swap=256M --pool $pool --control /run/ctl --reserve 16M --nbd off --metrics off "$@"
}
stop() {
	kill -9 "${server_pid[memserver]}"
	wait "${server_pid[memserver]}"
}
ctl() {
	"$B/memctl" -s /run/ctl "$@"
}
connect() { # EXPORT FLAG...
	local export=$1

	shift
	nvme connect -t tcp -a 127.0.0.1 -s 4420 -n "$nqn:$export" -q $host -I $id -i 1 -c 1 -l -1 "$@" &&
		wait_for 120 device "$export"
}
device() {
	local s
	for s in /sys/class/nvme-subsystem/*; do
		[ "$(cat "$s/subsysnqn" 2>/dev/null)" = "$nqn:$1" ] || continue
		for n in "$s"/nvme*n*; do
			[ -b "/dev/${n##*/}" ] && echo "/dev/${n##*/}" && return 0
		done
	done
	return 1
}
gone() {
	! ls /dev/nvme[0-9]* >/dev/null 2>&1
}
disconnect() {
	nvme disconnect-all
	wait_for 120 gone
}
live() {
	grep -qx live /sys/class/nvme/nvme*/state
}
logged() { # PATTERN: since the server's start
	grep -Eq -- "$1" "$T/memserver.log"
}
same() { # what was written is read
	dd if="$(device default)" bs=1M count=8 iflag=direct 2>/dev/null | cmp - "$T/data"
}
