#!/usr/bin/env bash
# The figures that the project promises, each beside its target: what a kill
# costs, redundancy, formation, memory; and throughput beside Redis and
# memcached. Parts: kills heavy million paused formation memory peers, or all (about
# 35 minutes, 14 GB; quiet the machine first). FIGURES_FLAGS='--quick' makes it short.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || { sed -n '2,5s/^# //p' "$0"; exit 2; }
make -s build
program=$(mktemp)
trap 'rm -f "$program"' EXIT
go build -o "$program" ./hack/figures
echo "$(date -u +%FT%TZ) $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg), $(go version | cut -d' ' -f3), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
for part; do
	case $part in
	peers) hack/bench-peers.sh ;;
	all)
		# shellcheck disable=SC2086 # several flags
		"$program" ${FIGURES_FLAGS:-} all
		hack/bench-peers.sh
		;;
	*)
		# shellcheck disable=SC2086
		"$program" ${FIGURES_FLAGS:-} "$part"
		;;
	esac
done
