#!/usr/bin/env bash
# A knee whose limit is the network: one node on a machine whose link sends 10
# Mbit/s, the load generator on another machine. Each machine is a network
# namespace; nothing is left behind, and the host's own network is not touched.
# Needs root, iproute2 and the programs (make build, or HEADROOM_BIN=DIR).
set -euo pipefail

source "$(dirname "$0")/lib.sh" slow-link hl 10.79.0

"$bin/headroom-node" certs init >/dev/null
"$bin/headroom-node" certs node --node-id 1 --out node1 >/dev/null
"$bin/headroom-node" certs client --name ada --out ada >/dev/null
tc -n "$tag-1" qdisc add dev eth0 root tbf rate 10mbit burst 32kb latency 100ms || skip "this kernel has no token bucket (tbf)"
mkdir machine1
(cd machine1 && exec ip netns exec "$tag-1" "$bin/headroom-node" run --node-id 1 --listen "$net.1:4300" --credentials ../node1 --http off) >machine1/out 2>machine1/log &
pid[1]=$!
disown $!
serves() { on 2 "$bin/headroom-node" status --addr "$net.1:4300" --credentials ada >/dev/null 2>&1; }
wait_for "the node does not answer" 10 serves

# The interface says 10 Gbit/s, as those of virtual machines say anything or nothing.
load=(headroom-loadgen knee ycsb-c --slo p50=50ms --target "quic://$net.1:4300" --credentials ada --link-speed 10Mbit/s
	--budget 80s --probe 6s --confirm 10s --hysteresis=false --resolution 10% --start 100/s --set records=2000 --set value-size=4KiB --read-back 0s --out knee)
echo "\$ ${load[*]}  # on machine 2"
code=0
on 2 "$bin/${load[0]}" "${load[@]:1}" 2>load.txt | tee knee.txt || code=$?
[ "$code" = 0 ] || [ "$code" = 3 ] || { echo "slow-link: FAILED: exit $code"; exit 1; }
grep -q '^Limit: network: ' knee.txt || { echo "slow-link: FAILED: the limit is not the network"; exit 1; }
echo
echo "slow-link: ok: the network is named"
