#!/usr/bin/env bash
# Three machines find each other by multicast alone, without a seed: each is a
# network namespace on one switch. One is killed and comes back; one loses its
# link to another, and both ends say so. Nothing is left behind. Needs root,
# iproute2, nftables for the broken link, and the programs (make build).
set -euo pipefail

bin=$(cd "${HEADROOM_BIN:-$(dirname "$0")/../../bin}" 2>/dev/null && pwd) || { echo "multicast: run make build first"; exit 1; }
skip() { echo "multicast: skipped: $*"; exit 0; }
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
command -v ip >/dev/null || skip "needs ip (package iproute2)"

tag=hm$$ # links have at most 15 characters
net=10.79.0
group=239.1.99.222:9918
work=$(mktemp -d)
declare -A pid

cleanup() {
	local code=$?
	trap - EXIT
	for p in "${pid[@]}"; do kill -KILL "$p" 2>/dev/null || true; done
	[ $code = 0 ] || tail -n 20 "$work"/machine*/log 2>/dev/null || true
	for n in sw 1 2 3; do ip netns del "$tag-$n" 2>/dev/null || true; done
	rm -rf "$work"
	exit $code
}
trap cleanup EXIT
trap 'exit 130' INT TERM

ip netns add "$tag-sw" 2>/dev/null || skip "this machine forbids network namespaces"
ip -n "$tag-sw" link add sw type bridge
ip -n "$tag-sw" link set sw up
for n in 1 2 3; do
	ip netns add "$tag-$n"
	ip -n "$tag-$n" link add eth0 type veth peer name "p$n" netns "$tag-sw"
	ip -n "$tag-sw" link set "p$n" master sw up
	ip -n "$tag-$n" addr add "$net.$n/24" dev eth0
	ip -n "$tag-$n" link set lo up
	ip -n "$tag-$n" link set eth0 up
done
cd "$work"
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
wait_for() { # wait_for WHAT SECONDS COMMAND...
	local what=$1 tries=$(($2 * 10))
	shift 2
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { echo "multicast: FAILED: $what"; exit 1; }
		sleep 0.1
	done
}

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
