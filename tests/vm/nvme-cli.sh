#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
# Linux's NVMe/TCP host and nvme-cli against memserver: discovery, every admin command a person
# types, discard, quota, resize, reset, loss and return, rebirth. One boot; see _nvme-cli.sh.
. "$(dirname "$0")/../lib.sh"
plan 43

"$TOP/tests/vm/guest-run" --mem 768M --timeout 600 --strict-dmesg -- bash "$TOP/tests/vm/_nvme-cli.sh" \
	>"$T/out" 2>"$T/err"
status=$?
grep -E '^(ok|not ok|#)' "$T/out"
tap_count=$(grep -cE '^(ok|not ok) ' "$T/out")
tap_failed=$(grep -c '^not ok ' "$T/out")
equal "the guest's kernel had nothing to complain about" $status 0 || tail -n 80 "$T/err" | diag
