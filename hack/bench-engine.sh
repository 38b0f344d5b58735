#!/usr/bin/env bash
# The storage engine alone, each figure beside its target (hack/benchengine):
# operations per second and core, restart, flash reads and writes beside fio,
# memory, garbage collection. Under four minutes; 3 GB of files in DIR, 9 GB of
# memory for the part many. Parts: dram restart reads writes many; all without
# an argument. FLAGS='--pairs 3 --each 300ms' makes it short.
#
#   apt-get install fio        (Debian, Ubuntu; for reads and writes)
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- dram restart reads writes many
program=$(mktemp)
trap 'rm -f "$program"' EXIT
go build -o "$program" ./hack/benchengine
echo "$(date -u +%FT%TZ) $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg), $(go version | cut -d' ' -f3), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
# shellcheck disable=SC2086 # several flags
"$program" ${DIR:+--dir "$DIR"} ${FLAGS:-} "$@"
