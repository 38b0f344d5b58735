# What the scripts of this directory share: three machines, each a network
# namespace with an address of its own, on a switch that is a bridge in a
# fourth. To be sourced, with the arguments NAME TAG NET: what messages and
# namespaces begin with, and the first three numbers of all addresses. Gives
# bin, work (a new directory, the current one from here on), tag, net and
# wait_for; cleanup kills what is in pid and leaves nothing behind.
name=$1 tag=$2$$ net=$3 # links have at most 15 characters
declare -A pid

bin=$(cd "${HEADROOM_BIN:-$(dirname "$0")/../../bin}" 2>/dev/null && pwd) || { echo "$name: run make build first"; exit 1; }
skip() { echo "$name: skipped: $*"; exit 0; }
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
command -v ip >/dev/null || skip "needs ip (package iproute2)"
work=$(mktemp -d)

cleanup() {
	local code=$?
	trap - EXIT
	for p in "${pid[@]}"; do kill -KILL "$p" 2>/dev/null || true; done
	[ $code = 0 ] || tail -n 20 "$work"/*/log "$work"/load.txt 2>/dev/null || true
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

on() { # on N COMMAND...: run a command on machine N
	local n=$1
	shift
	ip netns exec "$tag-$n" "$@"
}

wait_for() { # wait_for WHAT SECONDS COMMAND...: until the command succeeds
	local what=$1 tries=$(($2 * 10))
	shift 2
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { echo "$name: FAILED: $what"; exit 1; }
		sleep 0.1
	done
}
