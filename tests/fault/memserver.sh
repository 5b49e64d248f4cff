#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Errors in the middle of what memserver does: refused whole, nothing left behind, and when the
# fault is gone all goes on.
. "$(dirname "$0")/../lib.sh"
plan 24

new_pool
port=$(free_port)
S=$T/control
flags=(--pool "$POOL/pool" --reserve 0 --nbd "127.0.0.1:$port" --nvme off --metrics off --control "$S")

memctl() {
	"$B/memctl" -s "$S" "$@"
}
io() {
	local name=$1

	shift
	timeout 60 qemu-io -f raw "$@" "nbd://127.0.0.1:$port/$name"
}
files() {
	(cd "$POOL/pool" && echo *)
}
fired() {
	memctl --json fault | /usr/bin/python3 -c '
import json, sys
print(next(p.get("fired", 0) for p in json.load(sys.stdin) if p["name"] == sys.argv[1]))' "$1"
}

refuses "an environment that names no fault point stops the start" 1 "REMEM_FAULTS 'no.such=EIO': no such fault point" \
	env REMEM_FAULTS=no.such=EIO "$B/memserver" "${flags[@]}"
refuses "an export of the command line that can't be made stops it" 1 "export default: No space left" \
	env REMEM_FAULTS=pool.carve=ENOSPC "$B/memserver" --export 16M "${flags[@]}"
equal "and leaves nothing" "$(files)" lock
start_server memserver 'ready: nbd' "$B/memserver" --export 16M "${flags[@]}"

# ---- making and changing exports ----

check "a fault point is armed" memctl fault pool.carve=ENOSPC@1
refuses "create fails with its error" 1 "x: No space left" memctl create x 4M
equal "and leaves nothing" "$(files)" "default.json default.mem lock"
check "the next one succeeds" memctl create x 4M
memctl fault identity.store=EIO@1 >/dev/null
refuses "create fails where its identity can't be stored" 1 "y: Input/output error" memctl create y 4M
equal "and leaves nothing" "$(files)" "default.json default.mem lock x.json x.mem"
memctl fault identity.store=EIO@1 >/dev/null
refuses "resize fails where its identity can't be stored" 1 "x: Input/output error" memctl resize x 8M
refuses "and nothing beyond the old size can be written" 1 "." io x -c 'write 4M 4k'
check "the next one succeeds" memctl resize x 8M
check "and all of it can be written" io x -c 'write -P 1 0 8M' -c 'read -P 1 0 8M'

# ---- connections ----

memctl fault conn.new=ENOMEM@1 >/dev/null
refuses "a connection there is no memory for is ended" 1 "." io default -c 'read 0 4k'
check "the log says so" grep -q "refused: no memory for another connection" "$T/memserver.log"
check "the next one is served" io default -c 'read 0 4k'
memctl fault door.accept=EMFILE@1 >/dev/null
check "a connection that can't be accepted at once is served a little later" io default -c 'read 0 4k'
check "the log says why" grep -q "cannot accept: out of descriptors" "$T/memserver.log"

# ---- memory ----

check "data is there" io default -c 'write -P 2 0 4M'
memctl fault pool.charge=ENOSPC%30 >/dev/null
for at in {4..11}; do
	io default -c "write -P 3 ${at}M 1M" >/dev/null 2>&1
done
check "the fault was met" [ "$(fired pool.charge)" -gt 0 ]
check "what was there is untouched" io default -c 'read -P 2 0 4M' -c 'write -P 4 0 4M' -c 'read -P 4 0 4M'
memctl fault off >/dev/null
check "without the fault all can be written" io default -c 'write -P 5 0 16M' -c 'read -P 5 0 16M'
equal "and the account is right" "$(memctl --json list |
	/usr/bin/python3 -c 'import json, sys; print([e["resident"] for e in json.load(sys.stdin)])')" \
	"[16777216, 8388608]"
stop_server memserver
equal "it ends cleanly" $? 0
