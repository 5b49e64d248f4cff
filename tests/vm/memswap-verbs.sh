#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
# memswap on, off and status on a real kernel: what they change, that they put it back,
# and what they refuse with which words.
. "$(dirname "$0")/lib_memswap.sh"
exports=(--export 512M --export ext=64M --export other=64M)
in_guest || serve --mem 256M --cpus 2
plan 70

min_free() {
	cat /proc/sys/vm/min_free_kbytes
}
swaps() {
	tail -n +2 /proc/swaps | awk '{ print $1, $NF }' | tr '\n' ' '
}
leftovers() {
	ls /run/memswap 2>/dev/null
	ls -d /sys/class/nvme/nvme* 2>/dev/null
	cat /sys/block/nbd*/backend 2>/dev/null
	pgrep -f @memswap-keeper
	true
}

# -- typed wrong, or not allowed --
refuses "no verb is a usage error" 2 'memswap on URL' "$memswap"
refuses "an unknown verb is a usage error" 2 'no verb "frob"' "$memswap" frob
refuses "a URL of another kind is a usage error" 2 'must begin with nvme-tcp' "$memswap" on x://y
refuses "an option that isn't there is a usage error" 2 'unknown option --zap' "$memswap" on --zap
refuses "an option of the other transport is a usage error" 2 'no meaning for nbd' \
	"$memswap" on "$nbd/default" --nr-io-queues 2
refuses "a number out of range is a usage error" 2 'from 1 to 32767' "$memswap" on -p 0 "$nbd/x"
refuses "off without anything attached says so" 2 'nothing is attached' "$memswap" off
cp "$memswap" "$T/memswap" && chmod 755 "$T" "$T/memswap"
refuses "who isn't root is told so" 1 'needs root' \
	setpriv --reuid 65534 --clear-groups "$T/memswap" on "$nbd/default"
check "status works for everybody" setpriv --reuid 65534 --clear-groups "$T/memswap" status
check "help is there" sh -c "'$memswap' --help | grep -q 'nvme-tcp://HOST'"

# -- refused --
refuses "an export that isn't there over NBD: the others are named" 1 \
	'no such export; it has: .*default.*other' "$memswap" on "$nbd/nope"
refuses "an export that isn't there over NVMe: the others are named" 1 \
	'has no export nqn.*:nope for this host; it has: .*remem:default' "$memswap" on "$nvme/nope"
refuses "a port without a server over NBD" 1 'nobody listens' "$memswap" on nbd://10.0.2.2:1/x
refuses "a port without a server over NVMe" 1 'nobody listens' "$memswap" on nvme-tcp://10.0.2.2:1/x
refuses "a host without a name" 1 "can't find the host" "$memswap" on nbd://no.such.host.invalid/x
refuses "another protocol behind the port" 1 "doesn't speak NBD|can't be reached|closed the connection" \
	"$memswap" on "nbd://10.0.2.2:$MEMSWAP_NVME/default"
equal "nothing is left of all that" "$(leftovers)" ''

# -- on and off, both ways --
modprobe brd rd_nr=1 rd_size=8192
mkswap /dev/ram0 >/dev/null
swapon -p 7 /dev/ram0
before=$(min_free)
others=$(swaps)
for url in "${both[@]}"; do
	way=${url%%:*}
	check "$way: attached" "$memswap" on "$url"
	kdev=$(status device)
	equal "$way: the kernel swaps on it, above the others" "$(swaps)" "$others$kdev 8 "
	check "$way: the memory reserve is raised" test "$(min_free)" -gt "$before"
	equal "$way: status knows it" "$(status state) $(status on) $(status size_bytes)" \
		"live True $((512 << 20))"
	check "$way: the server's name of the bytes is remembered" \
		sh -c "'$memswap' status --json | grep -Eq '\"name\":\"(default@|nqn.2026-11.io.remem:default uuid)'"
	check "$way: attaching again changes nothing" "$memswap" on "$url"
	equal "$way: there is still one" "$(swaps)" "$others$kdev 8 "
	for second in "${both[@]}"; do
		[ "$second" = "$url" ] || refuses "$way: a second way to the same pages is refused" 1 \
			"this host swaps on that export already, by $kdev" "$memswap" on "$second"
	done
	check "$way: the discard of freed pages is on" \
		sh -c "dmesg | grep -E \"Adding .* swap on $kdev\" | tail -n 1 | grep -q 's\\b\\|D'"
	start_load 24M --data 40M --pattern rand --op write --verify-all
	check "$way: verified work on it" end_load
	check "$way: detached by its device" "$memswap" off "$kdev"
	equal "$way: what was set is as before" "$(swaps) $(min_free)" "$others $before"
	equal "$way: nothing is left" "$(leftovers)" ''
	check "$way: the lender has its memory back" test "$(host resident default)" -lt $((4 << 20))
done
swapoff /dev/ram0
rmmod brd

# -- what is there already --
truncate -s 64M "$T/file"
mkfs.ext4 -q -F "$T/file"
modprobe nbd max_part=0
nbd-client -N ext 10.0.2.2 "$MEMSWAP_NBD" /dev/nbd9 >/dev/null 2>&1
dd if="$T/file" of=/dev/nbd9 bs=1M conv=fsync 2>/dev/null
nbd-client -d /dev/nbd9 >/dev/null 2>&1
for url in "$nbd/ext" "$nvme/ext"; do
	refuses "${url%%:*}: a file system is refused and named" 1 'an ext2/3/4 file system \(byte 1080' \
		"$memswap" on "$url"
done
equal "and left as it was" "$(leftovers)" ''
check "--force takes it" "$memswap" on --force "$nbd/ext"
refuses "an export that somebody else has" 1 'has no|is not attached' "$memswap" off "$nbd/other"

# -- another host --
uuid=$(status swap_uuid)
check "the first is off" "$memswap" off
check "the same swap area again" "$memswap" on "$nbd/ext"
equal "keeps its UUID" "$(status swap_uuid)" "$uuid"
kdev=$(status device)
# As a host that lost power leaves it: the mark stays, and here the name of another in it.
swapoff "$kdev"
mark=$(dd if="$kdev" bs=500 count=1 iflag=fullblock status=none | tr -d '\0' |
	sed 's/^host=.*/host=stranger/; s/^machine=.*/machine=elsewhere/; s/^attach=.*/attach=x/')
"$memswap" off >/dev/null
nbd-client -N ext 10.0.2.2 "$MEMSWAP_NBD" /dev/nbd9 >/dev/null 2>&1
printf '%s\n' "$mark" | dd of=/dev/nbd9 conv=notrunc,fsync status=none
nbd-client -d /dev/nbd9 >/dev/null 2>&1
refuses "an export on which another host swaps is refused" 1 'the host "stranger" swaps on that' \
	"$memswap" on "$nvme/ext"
check "--force takes it over" "$memswap" on --force "$nvme/ext"
check "off --all" "$memswap" off --all

# -- /etc/memswap.urls --
printf '# two\n%s -p 20\n\n  %s --priority 10 # second\n' "$nvme/default" "$nbd/other" >/etc/memswap.urls
check "on --all attaches every line" "$memswap" on --all
equal "with its options" "$(swaps | tr ' ' '\n' | grep '^[12]0$' | sort | tr '\n' ' ')" '10 20 '
echo "$nbd/nope" >>/etc/memswap.urls
refuses "a line that fails doesn't stop the others" 1 'no such export' "$memswap" on --all
equal "which stay" "$(swaps | wc -w)" 4
check "off --all takes them all" "$memswap" off --all

# -- options --
check "digests and queues reach the kernel" \
	"$memswap" on "$nvme/default" --hdr-digest --data-digest --nr-io-queues 1 --queue-size 32
start_load 24M --data 40M --pattern rand --op write --verify-all
check "and work" end_load
equal "one queue of 32" "$(cat /sys/class/nvme/nvme0/queue_count /sys/class/nvme/nvme0/sqsize | tr '\n' ' ')" '2 31 '
"$memswap" off
check "a queue's size reaches nbd" "$memswap" on "$nbd/default" --queue-size 16
equal "and is what it says" "$(cat /sys/block/nbd0/queue/nr_requests)" 16
"$memswap" off
check "connections, no discard and no sysctl" \
	"$memswap" on "$nbd/default" --connections 3 --no-discard --min-free keep
equal "are what they say" "$(status connections) $(min_free)" "3 $before"
check "off by URL" "$memswap" off "$nbd/default"
equal "nothing is left of it all" "$(leftovers)" ''
