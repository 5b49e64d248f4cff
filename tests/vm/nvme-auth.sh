#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 1200
# Linux's NVMe/TCP host and nvme-cli log in to memserver: keys right and wrong, every hash and
# group, a server that is killed, keys that change, memswap. Debian's 6.1 is built without
# CONFIG_NVME_AUTH: the guest's kernel is 6.12, of its backports. One boot; see _nvme-auth.sh.
. "$(dirname "$0")/../lib.sh"
kernel=linux-image-amd64/bookworm-backports
"$TOP/tests/vm/kernel" --package $kernel >"$T/kernel" 2>&1 || {
	diag <"$T/kernel"
	plan_skip "Debian's backports kernel can't be fetched here"
}
plan 42

"$TOP/tests/vm/guest-run" --kernel $kernel --mem 768M --timeout 900 --strict-dmesg -- \
	bash "$TOP/tests/vm/_nvme-auth.sh" >"$T/out" 2>"$T/err"
status=$?
grep -E '^(ok|not ok|#)' "$T/out"
tap_count=$(grep -cE '^(ok|not ok) ' "$T/out")
tap_failed=$(grep -c '^not ok ' "$T/out")
equal "the guest's kernel had nothing to complain about" $status 0 || tail -n 80 "$T/err" | diag
