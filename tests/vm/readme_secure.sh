#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
# README's set-up of two hosts that prove who they are, as a reader types it: the commands are
# taken from README.md, run on two guests with the addresses it names, and only NQN and SECRET
# are filled in. The guest's kernel is 6.12, as README says. The file runs three times.
. "$(dirname "$0")/../lib.sh"
PATH=$B:$PATH

# block N: the Nth piece of code after the sentence that begins the set-up.
block() {
	/usr/bin/python3 - "$TOP/README.md" "$1" <<-'END'
		import re, sys
		text = open(sys.argv[1]).read().partition('An address is no proof.')[2]
		pieces = re.findall(r'(?:^    .*\n)+(?:\n(?=    )(?:^    .*\n)+)*', text, re.M)
		print('\n'.join(line[4:] for line in pieces[int(sys.argv[2])].splitlines()))
	END
}
if [ -z "${README_ROLE:-}" ]; then
	kernel=linux-image-amd64/bookworm-backports
	"$TOP/tests/vm/kernel" --package $kernel >"$T/kernel" 2>&1 || {
		diag <"$T/kernel"
		plan_skip "Debian's backports kernel can't be fetched here"
	}
	tap_planned=0 # the guest speaks
	"$TOP/tests/vm/guest-run" --kernel $kernel --mem 512M --timeout 600 --two \
		"README_ROLE=guest bash '$0'" "README_ROLE=lender bash '$0'"
	exit $?
fi

# The first piece is the guest's, an empty line, then the lender's.
tell=$(block 0 | sed -n '1,/^$/p')
lend=$(block 0 | sed '1,/^$/d; /memswap on/,$d')
use=$(block 0 | grep '^memswap on')

if [ "$README_ROLE" = lender ]; then
	tap_planned=0
	ip addr add 10.0.0.5/24 dev eth0
	wait_for 300 test -e /guest/peer/told
	{ read -r nqn && read -r secret; } </guest/peer/told
	lend=${lend//NQN/$nqn}
	start_server lender 'ready: nvme on' bash -c "${lend//SECRET/$secret}" || {
		server_log lender >&2
		exit 1
	}
	touch /guest/peer/ready
	sleep infinity
fi

plan 7
ip addr add 10.0.0.6/24 dev eth0
modprobe nvme_tcp
check "the guest makes its secret" bash -c "($tell) >'$T/told'"
equal "and tells its name and the secret" "$(wc -l <"$T/told")" 2
cp "$T/told" /guest/peer/told.new && mv /guest/peer/told.new /guest/peer/told
check "the lender serves" wait_for 300 test -e /guest/peer/ready
(umask 077 && nvme gen-dhchap-key >"$T/other")
refuses "with another secret nobody comes in" 1 'secret' \
	memswap on nvme-tcp://10.0.0.5/guest1 --dhchap-secret-file "$T/other"
check "the guest swaps on it" bash -c "$use"
refuses "8 GiB of it" 0 '^/dev/nvme[^ ]+ +partition +8G' swapon --show
check "and takes it back" memswap off nvme-tcp://10.0.0.5/guest1
