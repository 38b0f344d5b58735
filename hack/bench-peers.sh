#!/usr/bin/env bash
# Headroom beside Redis and memcached, interleaved in one run on this machine:
# ours, theirs, ours, theirs, …; medians and ratios. About four minutes.
#
#   apt-get install redis-server redis-tools memcached     (Debian, Ubuntu)
#
# What is not installed is left out. Everything listens on 127.0.0.1, nothing
# is written outside a temporary directory, and only processes started here
# are ended. REPEATS (default 3) and SECONDS_EACH (default 3) change the length.
#
# Everything shares this machine's cores. Reads are measured twice: with half of
# them each for the node and its client, as one thread each is what Redis and
# its benchmark have on two; and with both taking all, which is what happens if
# nobody sets GOMAXPROCS: then they wake each other's idle threads, and two
# cores do less. The four nodes have what the local launcher gives them,
# cores/nodes, at least 1; the client of the writes has half.
set -euo pipefail
cd "$(dirname "$0")/.."

repeats=${REPEATS:-3}
each=${SECONDS_EACH:-3}
in_flight=64
records=100000
value=100
half=$((($(nproc) + 1) / 2))
tmp=$(mktemp -d)
pids=()

finish() {
	local p
	for p in "${pids[@]}"; do kill -9 "$p" 2>/dev/null || true; done
	wait 2>/dev/null || true
	rm -rf "$tmp"
}
trap finish EXIT
trap 'exit 130' INT TERM

say() { printf '%s\n' "$*" >&2; }
die() { say "bench-peers: $*"; exit 1; }

have() { # have PROGRAM PACKAGE
	command -v "$1" >/dev/null && return 0
	say "left out: $1 is not installed (apt-get install $2)"
	return 1
}

# free_port picks a port below the ephemeral range that nobody uses for UDP or
# TCP. Another program may take it before we do: then the start fails, loudly.
free_port() {
	local p hex
	while :; do
		p=$((10000 + RANDOM % 20000))
		hex=$(printf ':%04X ' "$p")
		grep -qhF "$hex" /proc/net/udp /proc/net/tcp /proc/net/udp6 /proc/net/tcp6 2>/dev/null || break
	done
	echo "$p"
}

await_tcp() { # await_tcp PORT
	for _ in $(seq 100); do
		(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
		sleep 0.05
	done
	die "nothing listens on 127.0.0.1:$1 after 5 s"
}

median() { sort -g | awk '{v[NR]=$1} END {if (NR) print NR%2 ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2}'; }

# row FILE: "rate cpu" lines to their two medians.
row() { echo "$(awk '{print $1}' "$1" | median) $(awk '{print $2}' "$1" | median)"; }

ticks() { awk '{sub(/.*\) /, ""); print $12 + $13}' "/proc/$1/stat"; } # utime + stime, 10 ms each

# ---- ours

ours() { # ours MODE TARGET NODES IN_FLIGHT PIDS GOMAXPROCS
	GOMAXPROCS=$6 timeout 60 "$tmp/batchbench" --mode "$1" --target "$2" --nodes "$3" --in-flight "$4" --pid "$5" \
		--credentials "$tmp/certs/client" --records $records --value-size $value --duration "${each}s"
}

node() { # node ID PORT RF GOMAXPROCS SEEDS → pid in $pid
	GOMAXPROCS=$4 bin/headroom-node run --node-id "$1" --listen "127.0.0.1:$2" --http off --data-dir "$tmp/node$1-$2" \
		--credentials "$tmp/certs" --replication-factor "$3" --commit all ${5:+--seed "$5"} --log-level error \
		>>"$tmp/node.log" 2>&1 &
	pid=$!
	pids+=("$pid")
	for _ in $(seq 100); do # the first start makes the certificates
		[ -e "$tmp/certs/client/client.key" ] && return 0
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done
	cat "$tmp/node.log" >&2
	die "node $1 did not start"
}

end() { # end PID…: with SIGKILL, the data are not needed
	kill -9 "$@" 2>/dev/null || true
	wait "$@" 2>/dev/null || true
}

# ---- theirs

start_redis() {
	redis_port=$(free_port)
	redis-server --bind 127.0.0.1 --port "$redis_port" --save '' --appendonly no --dir "$tmp" >"$tmp/redis.log" 2>&1 &
	redis_pid=$!
	pids+=("$redis_pid")
	await_tcp "$redis_port"
	redis-benchmark -h 127.0.0.1 -p "$redis_port" -t set -d $value -r $records -n $((8 * records)) -P 32 -q >/dev/null
}

redis_rate=40000 # requests per second expected, so that a run takes about as long as ours

redis() { # redis get|set: "rate cpu"
	local n before after rate
	n=$((redis_rate * each))
	before=$(ticks "$redis_pid")
	rate=$(timeout 60 redis-benchmark -h 127.0.0.1 -p "$redis_port" -t "$1" -c $in_flight -P 1 -d $value -r $records -n "$n" --csv |
		awk -F'"' 'tolower($2) == op {print $4}' op="$1")
	after=$(ticks "$redis_pid")
	[ -n "$rate" ] || die "redis-benchmark gave no rate"
	awk -v r="$rate" -v t=$((after - before)) -v n="$n" 'BEGIN {printf "%.0f %.2f\n", r, t * 10000 / n}'
}

start_memcached() {
	memcached_port=$(free_port)
	memcached -u "$(id -un)" -l 127.0.0.1 -p "$memcached_port" -U 0 -t 1 -m 256 >"$tmp/memcached.log" 2>&1 &
	memcached_pid=$!
	pids+=("$memcached_pid")
	await_tcp "$memcached_port"
}

# ---- the comparison

show() { # show NAME RATE CPU
	printf '  %-41s %9.0f /s' "$1" "$2"
	[ -n "${3:-}" ] && printf '   %6.2f us server CPU per record' "$3"
	printf '\n'
}

verdict() { # verdict TEXT VALUE min|max LIMIT
	awk -v t="$1" -v v="$2" -v k="$3" -v l="$4" 'BEGIN {
		ok = k == "min" ? v >= l : v <= l
		printf "  %-41s %9.2f      %s %.2f: %s\n", t, v, k == "min" ? "at least" : "at most", l, ok ? "met" : "NOT met"}'
}

ratio() { printf '  %-41s %9.2f\n' "$1" "$2"; } # ratio TEXT VALUE: one that nothing depends on

larger() { printf '%s\n' "$@" | sort -g | tail -1; }

over() { awk -v a="$1" -v b="$2" 'BEGIN {print a / b}'; }

reads() {
	echo "Reads: one DRAM node, $value-byte records, $in_flight in flight (median of $repeats)"
	local r c ar ac
	for _ in $(seq "$repeats"); do
		ours get "$fair" 1 $in_flight "$fair_pid" "$half" >>"$tmp/get.ours"
		[ -z "$redis_on" ] || redis get >>"$tmp/get.redis"
		ours get "$one" 1 $in_flight "$one_pid" "$(nproc)" >>"$tmp/get.all"
		[ -z "$memcached_on" ] || timeout 60 "$tmp/batchbench" --mode memcached-get --target "127.0.0.1:$memcached_port" \
			--pid "$memcached_pid" --in-flight $in_flight --records $records --value-size $value --duration "${each}s" >>"$tmp/get.memcached"
	done
	read -r r c < <(row "$tmp/get.ours")
	show "headroom get, $half of $(nproc) schedulers each" "$r" "$c"
	read -r ar ac < <(row "$tmp/get.all")
	show "headroom get, all schedulers each" "$ar" "$ac"
	if [ -n "$redis_on" ]; then
		local rr rc
		read -r rr rc < <(row "$tmp/get.redis")
		show "redis-benchmark -t get -c 64 -P 1" "$rr" "$rc"
	fi
	if [ -n "$memcached_on" ]; then
		local mr mc
		read -r mr mc < <(row "$tmp/get.memcached")
		show "memcached get, 64 connections (Go client)" "$mr" "$mc"
	fi
	if [ -n "$redis_on" ]; then
		verdict "times Redis" "$(over "$r" "$rr")" min 1.5
		ratio "times Redis, all schedulers each" "$(over "$ar" "$rr")"
	fi
	[ -z "$memcached_on" ] || ratio "times memcached" "$(over "$r" "$mr")"
	verdict "server CPU per get, us" "$(larger "$c" "$ac")" max 8
}

# ---- the same generator, workload and audit on each

# figures: "rate p50 p99" (us, of gets) of the run.json on stdin
figures() {
	awk -F'[:,]' '
		/"achieved_ops_per_s"/ && !rate {rate = $2}
		/"get": \{/ && !p99 {get = 1} # stages have another one
		get && /"response_us"/ {get = 2}
		get == 2 && /"p50"/ {p50 = $2}
		get == 2 && /"p99"/ {p99 = $2; get = 0}
		END {printf "%.0f %.0f %.0f\n", rate, p50, p99}'
}

same() { # same TARGET FLAG…: one run of ycsb-b; exit 3 is a verdict, shown by its own text elsewhere
	local target=$1 out code=0
	shift
	rm -rf "$tmp/run"
	out=$(timeout 120 bin/headroom-loadgen run ycsb-b --target "$target" --credentials "$tmp/certs" "$@" --duration "${each}s" \
		--warmup 1s --read-back 0s --set records=$records --set value-size=${value}B --out "$tmp/run" --json 2>>"$tmp/loadgen.log") || code=$?
	[ "$code" = 0 ] || [ "$code" = 3 ] || { tail -5 "$tmp/loadgen.log" >&2; die "headroom-loadgen on $target: exit $code"; }
	printf '%s\n' "$out" | figures
}

alike() {
	echo "YCSB B, $value-byte records, audited, the same generator on each: closed loop of $in_flight, then 10k/s open (median of $repeats)"
	local -A at=(["headroom, one DRAM node"]="quic://$one")
	if [ -n "$redis_on" ]; then
		at["redis, pipelined"]=redis://127.0.0.1:$redis_port
		at["redis, a connection each"]="redis://127.0.0.1:$redis_port?connections=$((in_flight / $(nproc)))"
	fi
	[ -z "$memcached_on" ] || at["memcached, pipelined"]=memcached://127.0.0.1:$memcached_port
	local name i=0
	local -A file
	for name in "${!at[@]}"; do file[$name]=$tmp/alike.$((i++)); done
	for _ in $(seq "$repeats"); do
		for name in "${!at[@]}"; do
			same "${at[$name]}" --closed $in_flight >>"${file[$name]}.closed"
			same "${at[$name]}" --rate 10k/s >>"${file[$name]}.open"
		done
	done
	for name in "${!at[@]}"; do
		local f=${file[$name]}
		printf '  %-28s closed %9.0f /s, p99 %6.0f us   open p50 %6.0f us, p99 %6.0f us\n' "$name" \
			"$(awk '{print $1}' "$f.closed" | median)" "$(awk '{print $3}' "$f.closed" | median)" \
			"$(awk '{print $2}' "$f.open" | median)" "$(awk '{print $3}' "$f.open" | median)"
	done | sort
}

batches() {
	echo "Batches of 64 records, one DRAM node, 8 goroutines (median of $repeats)"
	local r c
	for _ in $(seq "$repeats"); do
		ours batch-get "$one" 1 8 "$one_pid" "$(nproc)" >>"$tmp/bget.ours"
		ours batch-put "$one" 1 8 "$one_pid" "$(nproc)" >>"$tmp/bput.ours"
	done
	read -r r c < <(row "$tmp/bget.ours")
	show "records read" "$r" "$c"
	verdict "thousand records/s read" "$(over "$r" 1000)" min 250
	read -r r c < <(row "$tmp/bput.ours")
	show "records written" "$r" "$c"
	verdict "thousand records/s written" "$(over "$r" 1000)" min 150
}

writes() {
	echo "Writes: four nodes, RF 2, commit all, $in_flight writers (median of $repeats)"
	local r c
	for _ in $(seq "$repeats"); do
		ours put "$four" 4 $in_flight "$four_pids" "$half" >>"$tmp/put.ours"
		[ -z "$redis_on" ] || redis set >>"$tmp/set.redis"
	done
	read -r r c < <(row "$tmp/put.ours")
	show "headroom put, four nodes" "$r" "$c"
	if [ -n "$redis_on" ]; then
		local rr rc
		read -r rr rc < <(row "$tmp/set.redis")
		show "redis-benchmark -t set -c 64 -P 1" "$rr" "$rc"
		verdict "times Redis (aim 0.40)" "$(over "$r" "$rr")" min 0.33
	fi
}

[ -x bin/headroom-loadgen ] || die "bin/headroom-loadgen is missing: run make build"
[ -x bin/headroom-node ] || die "bin/headroom-node is missing: run make build"
CGO_ENABLED=0 go build -trimpath -o "$tmp/batchbench" ./hack/batchbench
redis_on='' memcached_on=''
if have redis-server redis-server && have redis-benchmark redis-tools; then start_redis && redis_on=1; fi
if have memcached memcached; then start_memcached && memcached_on=1; fi

port=$(free_port)
one=127.0.0.1:$port
node 1 "$port" 1 "$(nproc)" ''
one_pid=$pid
port=$(free_port)
fair=127.0.0.1:$port
node 2 "$port" 1 "$half" ''
fair_pid=$pid
reads
end "$fair_pid"
alike
batches
end "$one_pid"

procs=$(($(nproc) / 4))
four='' four_pids=''
for i in 1 2 3 4; do
	port=$(free_port)
	node "$i" "$port" 2 $((procs > 0 ? procs : 1)) "$four"
	four=${four:+$four,}127.0.0.1:$port
	four_pids=${four_pids:+$four_pids,}$pid
done
writes
