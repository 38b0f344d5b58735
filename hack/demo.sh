#!/usr/bin/env bash
# The main job from a bare checkout: four nodes, RF 2, a YCSB-B load with
# audit, node 3 killed and brought back, a report. About 70 seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf out/demo
mkdir -p out
bin/headroom-loadgen run ycsb-b --local-nodes 4 --set replication-factor=2 --set records=50k --set value-size=256 \
	--rate auto --warmup 3s --duration 40s --seed 1 --out out/demo \
	--fault 'kill node3 @10s' --fault 'start node3 @22s' >out/demo.log || status=$?
bin/headroom-reports html out/demo -o out/demo/report.html >/dev/null
echo
bin/headroom-reports summary out/demo --report out/demo/report.html
exit "${status:-0}"
