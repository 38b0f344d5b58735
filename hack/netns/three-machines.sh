#!/usr/bin/env bash
# Three machines joined in five commands, with certificates: each machine is a
# network namespace with an address of its own, the switch between them is a
# bridge in a fourth. Nothing is left behind: no namespace, process or file,
# and the host's own network is not touched. Needs root, iproute2 and the
# programs (make build, or HEADROOM_BIN=DIR).
set -euo pipefail

source "$(dirname "$0")/lib.sh" three-machines hr 10.77.0

say() { echo; echo "\$ $*"; }
# start N: the third, fourth or fifth command, on machine N.
start() {
	local n=$1
	mkdir -p "machine$n"
	cp -r "node$n" "machine$n/credentials" # the copy an operator makes with scp
	local cmd=(headroom-node run --node-id "$n" --listen "$net.$n:4300" --seed "$net.1:4300" --credentials credentials)
	say "${cmd[@]}" "  # on machine $n"
	(cd "machine$n" && exec ip netns exec "$tag-$n" "$bin/${cmd[0]}" "${cmd[@]:1}") >"machine$n/out" 2>"machine$n/log" &
	pid[$n]=$!
	disown $! # its death is the point: no message from the shell
}

# members N: how many members machine N sees up.
members() { on "$1" "$bin/headroom-node" status --addr "$net.$1:4300" --credentials "node$1" --json 2>/dev/null | grep -c '"up": true' || true; }

sees() { [ "$(members "$1")" = "$2" ]; }
settled() { # settled N...: these machines have nothing left to migrate
	for n; do on "$n" "$bin/headroom-node" safe-to-stop --addr "$net.$n:4300" --credentials "node$n" >/dev/null 2>&1 || return 1; done
}

say headroom-node certs init
"$bin/headroom-node" certs init
say 'for i in 1 2 3; do headroom-node certs node --node-id $i --out node$i; done'
for i in 1 2 3; do "$bin/headroom-node" certs node --node-id "$i" --out "node$i"; done
for n in 1 2 3; do start "$n"; done
for n in 1 2 3; do wait_for "machine $n does not see three members" 10 sees "$n" 3; done
wait_for "the cluster does not settle" 20 settled 1 2 3

say headroom-node status --addr "$net.2:4300" --credentials node2
on 2 "$bin/headroom-node" status --addr "$net.2:4300" --credentials node2
say headroom-node safe-to-stop --addr "$net.2:4300" --credentials node2
on 2 "$bin/headroom-node" safe-to-stop --addr "$net.2:4300" --credentials node2

# A client has a certificate of its own; without one it is turned away.
"$bin/headroom-node" certs client --name ada --out ada >/dev/null
if on 3 "$bin/headroom-node" status --addr "$net.1:4300" --insecure --timeout 2s >refused.txt 2>&1; then
	echo "three-machines: FAILED: a stranger was answered"
	exit 1
fi

load=(headroom-loadgen run ycsb-b --target "quic://$net.1:4300" --credentials ada --rate 500/s --warmup 1s --duration 6s --set records=5000 --out run)
say "${load[@]}" "  # on machine 3; machine 2 is killed meanwhile"
on 3 "$bin/${load[0]}" "${load[@]:1}" --json >load.json 2>load.txt &
load_pid=$!
pid[load]=$load_pid
wait_for "the load did not begin" 20 test -s run/events.csv
sleep 3
kill -KILL "${pid[2]}"
wait_for "machine 1 still counts the dead one" 5 sees 1 2
wait_for "machine 3 still counts the dead one" 5 sees 3 2
code=0
wait "$load_pid" || code=$?
audit() { sed -n "/\"audit\"/,/}/s/.*\"$1\": \([0-9]*\).*/\1/p" load.json; }
echo "acknowledged writes $(audit acknowledged_writes), lost $(audit lost), stale reads $(audit stale_reads), false not found $(audit false_not_found)"
[ "$(audit acknowledged_writes)" -gt 0 ] || { echo "three-machines: FAILED: no write was acknowledged (exit $code)"; exit 1; }
for what in lost stale_reads corrupt false_not_found; do
	[ "$(audit $what)" = 0 ] || { echo "three-machines: FAILED: audit: $what"; exit 1; }
done

wait_for "redundancy does not come back" 20 settled 1 3
say headroom-node status --addr "$net.1:4300" --credentials node1
on 1 "$bin/headroom-node" status --addr "$net.1:4300" --credentials node1
echo
echo "three-machines: ok: three joined, one killed, two go on"
