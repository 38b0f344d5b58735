#!/usr/bin/env bash
# Three machines find each other by multicast alone, without a seed: each is a
# network namespace on one switch. One is killed and comes back; one loses its
# link to another, and both ends say so. Nothing is left behind. Needs root,
# iproute2, nftables for the broken link, and the programs (make build).
set -euo pipefail

source "$(dirname "$0")/lib.sh" multicast hm 10.79.0
group=239.1.99.222:9918

"$bin/headroom-node" certs init >/dev/null
for n in 1 2 3; do "$bin/headroom-node" certs node --node-id "$n" --out "node$n" >/dev/null; done

start() { # start N: no seed, one flag
	mkdir -p "machine$1"
	local cmd=(headroom-node run --node-id "$1" --listen "$net.$1:4300" --multicast "$group" --credentials "$work/node$1" --data-dir "machine$1/data")
	echo "\$ ${cmd[*]}" | sed "s|$work/||"
	ip netns exec "$tag-$1" "$bin/${cmd[0]}" "${cmd[@]:1}" >"machine$1/out" 2>"machine$1/log" &
	pid[$1]=$!
	disown $!
}
status() { ip netns exec "$tag-$1" "$bin/headroom-node" status --addr "$net.$1:4300" --credentials "node$1" "${@:2}" 2>/dev/null; }
sees() { [ "$(status "$1" --json | grep -c '"up": true' || true)" = "$2" ]; }
names() { status "$1" | grep -q "broken link: $2"; }
for n in 1 2 3; do start "$n"; done
for n in 1 2 3; do wait_for "machine $n does not see three members" 10 sees "$n" 3; done
status 1 | sed -n 1,7p

kill -KILL "${pid[3]}"
for n in 1 2; do wait_for "machine $n still counts the dead one" 5 sees "$n" 2; done
start 3
for n in 1 2 3; do wait_for "machine $n does not see the one that came back" 10 sees "$n" 3; done

if command -v nft >/dev/null && ip netns exec "$tag-1" nft add table inet cut 2>/dev/null; then
	# Machine 1 and 3 lose each other, and both hear the group still.
	ip netns exec "$tag-1" nft 'add chain inet cut in { type filter hook input priority 0; }'
	ip netns exec "$tag-1" nft "add rule inet cut in ip saddr $net.3 ip daddr $net.1 drop"
	ip netns exec "$tag-1" nft 'add chain inet cut out { type filter hook output priority 0; }'
	ip netns exec "$tag-1" nft "add rule inet cut out ip daddr $net.3 drop"
	wait_for "machine 1 does not name the broken link" 5 names 1 "node1 does not hear node3"
	wait_for "machine 3 does not name the broken link" 5 names 3 "node3 does not hear node1"
	wait_for "the others do not go on" 5 sees 3 2
	status 3 | grep -E '^view|broken link'
	ip netns exec "$tag-1" nft delete table inet cut
	for n in 1 2 3; do wait_for "machine $n does not see three members after the link is mended" 10 sees "$n" 3; done
else
	echo "multicast: the broken link is skipped: needs nft (package nftables)"
fi
echo "multicast: ok: three found each other without a seed, one was killed and came back"
