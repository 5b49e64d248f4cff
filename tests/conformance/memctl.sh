#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 400
# Administration of a real memserver: flags, memctl, metrics, signals, restarts.
. "$(dirname "$0")/../lib.sh"
plan 77

new_pool
nbd=$(free_port) nvme=$(free_port) discovery=$(free_port) metrics=$(free_port)
S=$T/run/control
doors=(--nbd "127.0.0.1:$nbd" --nvme "127.0.0.1:$nvme" --discovery "127.0.0.1:$discovery"
	--metrics "127.0.0.1:$metrics" --control "$S" --pool "$POOL/pool")

memserver() {
	"$B/memserver" "$@"
}
memctl() {
	"$B/memctl" -s "$S" "$@"
}
# json COMMAND... EXPRESSION: what the expression says of the command's JSON, in `j`.
json() {
	local expression=${*: -1}

	"$B/memctl" -s "$S" --json "${@:1:$#-1}" |
		/usr/bin/python3 -c "import json, sys; j = json.load(sys.stdin); print($expression)"
}
io() {
	local name=$1

	shift
	timeout 60 qemu-io -f raw "$@" "nbd://127.0.0.1:$nbd/$name"
}
# A client that stays: start_client NAME EXPORT
start_client() {
	start_server "$1" connected /usr/bin/python3 -c '
import nbd, sys, time
h = nbd.NBD()
h.connect_uri(sys.argv[1])
print("connected", flush=True)
try:
    while True:
        h.poll(-1)
        if h.aio_is_dead() or h.aio_is_closed():
            break
except nbd.Error:
    pass
print("ended", flush=True)
' "nbd://127.0.0.1:$nbd/$2"
}
ended() {
	grep -q ended "$T/$1.log"
}
metric() {
	"$TOP/tests/conformance/_prometheus.py" "http://127.0.0.1:$metrics/metrics" >"$T/metrics" &&
		grep -F -- "$1 " "$T/metrics" | sed 's/.* //'
}
# refused_line SENTENCE STATUS PATTERN COMMAND...: as refuses, and it is one line.
refused_line() {
	refuses "$@" && [ "$(wc -l <"$T/check.out")" = 1 ] && return
	diag "not one line"
}

# ---- flags ----

refused_line "an unknown flag is named" 2 "'--exprot': no such flag" memserver --exprot 4G
refused_line "a bad size is named with its flag" 2 "--export: '4Q': not a size; allowed: .*SIZE" \
	memserver --export 4Q
refused_line "a door that is no address is named" 2 "--nbd: 'here': not an address; allowed: ADDR:PORT" \
	memserver --nbd here
refused_line "a number out of range is named" 2 "--threads: '99': .*1 to 64" memserver --threads 99
refused_line "beyond loopback needs a list or --open" 2 "0.0.0.0:10809 is beyond loopback.*--allow.*--open" \
	memserver --export 4M --nbd 0.0.0.0
printf 'export = 64M\nexprot = 4G\n' >"$T/bad.conf"
refused_line "a bad line of the file is named" 2 "bad.conf:2: 'exprot': no such key" \
	memserver --config "$T/bad.conf"
refused_line "a missing file is named" 2 "--config: .*/none.conf: No such file" \
	memserver --config "$T/none.conf"
check "-n checks and starts nothing" memserver -n --export 4G --nbd 0.0.0.0 --open
refuses "--version tells it" 0 "^memserver [0-9]" memserver --version
refuses "--help names the flags" 0 "--pool-limit" memserver --help
refuses "memctl --help names the verbs" 0 "log-level" memctl --help
refuses "memctl without a verb says so" 2 "say what to do" memctl
refuses "an unknown verb is refused" 2 "no such verb: frobnicate" memctl frobnicate
refuses "too few arguments are refused with the usage" 2 "usage: memctl create NAME SIZE" memctl create x
refuses "an option of another verb is refused" 2 "takes no --force" memctl list --force
refuses "no verb but create takes --tls" 2 "takes no --tls" memctl resize x 1M --tls
refuses "where nobody listens memctl says what to do" 1 "no memserver listens at $S; start one" memctl list

# ---- up ----

cat >"$T/memserver.conf" <<-END
	# lends little
	export = default=32M
	max-conns = 2000
	spin-us = 7
END
memserver_flags=(--config "$T/memserver.conf" --export default=64M --export small=16M,quota=1M
	--pool-limit 256M --reserve 0 "${doors[@]}")
start_server memserver 'ready: nbd on' "$B/memserver" "${memserver_flags[@]}"
for door in "nvme on 127.0.0.1:$nvme" "nvme-discovery on 127.0.0.1:$discovery" "nbd on 127.0.0.1:$nbd" \
	"control on $S" "metrics on http://127.0.0.1:$metrics/metrics"; do
	check "a line says: ready: ${door%% *}" grep -q "ready: $door" "$T/memserver.log"
done
equal "the control socket is for owner and group" "$(stat -c %a "$S")" 660
equal "flags replace what the file says of them" \
	"$(memctl show config | grep -E '^(export|max-conns|spin-us) ' | tr '\n' ' ')" \
	"export = default=67108864 export = small=16777216,quota=1048576 spin-us = 7 max-conns = 2000 "
equal "list has the exports" "$(json list '[(e["name"], e["size"], e["quota"]) for e in j]')" \
	"[('default', 67108864, None), ('small', 16777216, 1048576)]"
refuses "the table has them too" 0 "^small +16M +1M +0B +0 +[0-9a-f]{12}$" memctl list

# ---- a second one ----

refuses "a second memserver on the pool is refused with the remedy" 1 "another memserver.*--pool" \
	memserver --pool "$POOL/pool" --nbd off --nvme off --metrics off --control "$T/other"
refuses "a port that is taken is refused with the flag" 1 "127.0.0.1:$nbd: cannot listen: .*--nbd" \
	memserver --pool "$POOL/pool2" --nbd "127.0.0.1:$nbd" --nvme off --metrics off --control "$T/other"
refuses "a metrics port that is taken is refused with the flag" 1 ":$nbd: cannot listen: .*--metrics" \
	memserver --pool "$POOL/pool2" --nbd off --nvme off --metrics "127.0.0.1:$nbd" --control "$T/other"
refuses "a control socket in use is refused with the flag" 1 "$S: cannot listen: .*--control" \
	memserver --pool "$POOL/pool2" --nbd off --nvme off --metrics off --control "$S"
check "the first one goes on" memctl list

# ---- create, resize, drop ----

check "create makes an export" memctl create swap0 32M
check "it can be written and read at once" io swap0 -c 'write -P 7 0 8M' -c 'read -P 7 0 8M'
refuses "the log says who made it" 0 "export swap0: created with 32M by uid $(id -u) pid [0-9]" \
	cat "$T/memserver.log"
refuses "a name that exists is refused" 1 "swap0: .*exists" memctl create swap0 32M
refuses "a name that can't be one is refused" 1 "a name is" memctl create ../x 32M
refuses "a size that is none is refused here" 2 "'lots' is not a size" memctl create x lots
refuses "a size that is no multiple of 4096 is refused" 1 "4096" memctl create x 5000
refuses "a quota above the size is refused" 1 "quota" memctl create x 4M --quota 8M
check "resize makes it larger" memctl resize swap0 48M
check "its new end can be written" io swap0 -c 'write -P 9 47M 1M' -c 'read -P 7 0 8M'
refuses "resize of what is not there is refused" 1 "no export" memctl resize nothing 4M

start_client client swap0
refuses "smaller is refused while in use" 1 "in use" memctl resize swap0 16M
refuses "drop is refused while in use" 1 "swap0 is in use" memctl drop swap0
equal "who shows the client" "$(json who '[(c["front"], c["export"]) for c in j]')" "[('nbd', 'swap0')]"
equal "stat names it" "$(json stat swap0 '[(c["client"], c["connections"]) for c in j["exports"][0]["clients"]]')" \
	"[('127.0.0.1', 1)]"
check "drop --force drops it" memctl drop swap0 --force
check "and its client is ended" wait_for 30 ended client
equal "it is gone from the list" "$(json list '[e["name"] for e in j]')" "['default', 'small']"
refuses "drop of what is not there is refused" 1 "no export 'swap0'" memctl drop swap0
stop_server client

start_client client default
id=$(json who 'j[0]["id"]')
refuses "kick needs an ID" 2 "not a connection's ID" memctl kick all
refuses "kick of nobody is refused" 1 "no connection 999999" memctl kick 999999
check "kick ends a connection" memctl kick "$id"
check "its client notices" wait_for 30 ended client
stop_server client

# ---- counters ----

check "a write is counted" io default -c 'write -P 3 0 2M' -c 'read -P 3 0 1M' -c 'discard 0 1M'
stat='(lambda e: (e["io"]["write"]["ops"] > 0, e["io"]["write"]["bytes"], e["io"]["read"]["bytes"] >= 1 << 20,
	e["io"]["trim"]["bytes"], e["resident"], e["io"]["write"]["latency_ns"]["p50"] > 0))(j["exports"][0])'
equal "stat has bytes, trims, memory and latency" "$(json stat default "$stat")" \
	"(True, 2097152, True, 1048576, 1048576, True)"
refuses "a write past the quota fails" 1 "No space left" io small -c 'write 0 2M'
equal "and is counted" "$(json stat small 'j["exports"][0]["no_space"] > 0')" True
refuses "stat of what is not there is refused" 1 "no export 'x'" memctl stat x
check "metrics are what Prometheus can read" metric memserver_connections
equal "they agree with stat" "$(metric 'memserver_io_bytes_total{export="default",op="write"}')" 2097152
equal "a histogram counts the writes" \
	"$(metric 'memserver_io_latency_seconds_count{export="default",op="write"}')" \
	"$(json stat default 'j["exports"][0]["io"]["write"]["ops"]')"
equal "memory in use is told" "$(metric memserver_pool_used_bytes)" "$(json stat 'j["pool"]["used"]')"
equal "/healthz is well" "$(curl -s "http://127.0.0.1:$metrics/healthz")" ok
equal "any other path is not found" \
	"$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$metrics/../etc/passwd")" 404
equal "nothing can be posted" \
	"$(curl -s -o /dev/null -w '%{http_code}' -d x "http://127.0.0.1:$metrics/metrics")" 405

# ---- the log ----

refuses "reload where there are no secrets says so" 1 "no secrets" memctl reload
equal "log-level tells it" "$(memctl log-level)" info
check "log-level sets it" memctl log-level warning
refuses "an unknown level is refused" 1 "levels are" memctl log-level loud

# ---- down and up again ----

stop_server memserver
equal "SIGTERM ends it with status 0" $? 0
equal "its socket is gone" "$(ls "$(dirname "$S")")" ""
start_server memserver 'ready: nbd on' "$B/memserver" --reserve 0 "${doors[@]}"
check "another one finds the exports and their bytes" io default -c 'read -P 3 1M 1M' -c 'read -P 0 0 1M'
stop_server memserver KILL
start_server memserver 'ready: nbd on' "$B/memserver" --reserve 0 "${doors[@]}"
check "after kill -9 too, on the same control socket" memctl list
check "and the bytes are there" io default -c 'read -P 3 1M 1M'
equal "quotas are kept" "$(json list '[e["quota"] for e in j]')" "[None, 1048576]"
stop_server memserver
start_server memserver 'ready: nbd on' "$B/memserver" --export 32M --export small=32M --reserve 0 "${doors[@]}"
equal "an export grows with its flag and never shrinks with it" \
	"$(json list '[(e["name"], e["size"], e["quota"]) for e in j]')" \
	"[('default', 67108864, None), ('small', 33554432, 1048576)]"
