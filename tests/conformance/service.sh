#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The systemd units, and what it relies on: the pool's mount outlives a service that may not
# mount, and the service manager is told when it is ready and that it lives.
. "$(dirname "$0")/../lib.sh"
[ "$(id -u)" = 0 ] || plan_skip "mounts need root"
plan 11

M=$T/pool
cleanup() {
	local status=$?

	umount "$M" 2>/dev/null
	(exit $status)
	tap_end
}
trap cleanup EXIT

# ---- the unit files ----

mkdir -p "$T/sbin"
ln -s "$B/memserver" "$T/sbin/memserver"
for unit in memserver/memserver memserver/memserver-pool vmemdirect/vmemdirect@; do
	# Its user is there once it is installed.
	sed "s#@PREFIX@#$T#g; s/^User=memserver/User=daemon/" "$TOP/$unit.service" \
		>"$T/$(basename "$unit").service"
done
check "systemd finds nothing wrong with the units" \
	systemd-analyze verify --man=no "$T/memserver.service" "$T/memserver-pool.service"
check "memserver's is well confined (exposure at most 1.9)" \
	systemd-analyze security --offline=yes --threshold=19 "$T/memserver.service"
check "vmemdirect's as far as its work lets it be (exposure at most 3.7)" \
	systemd-analyze security --offline=yes --threshold=37 "$T/vmemdirect@.service"
check "memserver takes the command line it has" \
	"$B/memserver" -n --prepare-pool --config "$TOP/docs/memserver.conf.example"

# ---- the pool's mount ----

port=$(free_port)
flags=(--export 16M --pool "$M" --pool-limit 64M --reserve 0 --nbd "127.0.0.1:$port" --nvme off
	--metrics off --control "$T/control")
is_mounted() {
	mount | grep -Eq "^memserver on $M type tmpfs .*mode=700"
}
# As the unit runs it: no rights, and a mount namespace of its own.
confined() {
	exec unshare --mount --propagation slave setpriv --bounding-set=-all --inh-caps=-all \
		--no-new-privs "$B/memserver" "${flags[@]}"
}
io() {
	timeout 60 qemu-io -f raw "$@" "nbd://127.0.0.1:$port/default"
}
check "--prepare-pool mounts a tmpfs and ends" "$B/memserver" --prepare-pool "${flags[@]}"
check "it is there" is_mounted
check "once more is fine" "$B/memserver" --prepare-pool "${flags[@]}"
start_server memserver 'ready: nbd' confined
check "a service without rights serves from it" io -c 'write -P 5 0 4M'
stop_server memserver
check "its end leaves the mount" is_mounted
start_server memserver 'ready: nbd' confined
check "the next one has the bytes" io -c 'read -P 5 0 4M'
stop_server memserver

# ---- the service manager is told ----

notified() {
	/usr/bin/python3 - "$B/memserver" "${flags[@]}" <<-'END'
		import os, socket, subprocess, sys
		with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
		    s.bind("\0memserver-test-%d" % os.getpid())
		    s.settimeout(60)
		    env = dict(os.environ, NOTIFY_SOCKET="@memserver-test-%d" % os.getpid())
		    p = subprocess.Popen(sys.argv[1:], env=env)
		    for want in ("READY=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"):
		        if want == "STOPPING=1":
		            p.terminate()
		        while want not in (said := s.recv(4096).decode()):
		            print(said)
		    sys.exit(p.wait(60))
	END
}
check "READY=1, WATCHDOG=1 every second, STOPPING=1" notified
