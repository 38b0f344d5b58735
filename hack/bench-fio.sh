#!/usr/bin/env bash
# Our reads and writes of a file beside fio's, ten interleaved pairs at each
# queue depth and low-water mark, medians of their ratios beside the targets.
# About two minutes. DIR is where the files lie (3 GB), FLAGS as in
# hack/bench-engine.sh, e.g. FLAGS=--threads for reads without io_uring.
#
#   apt-get install fio        (Debian, Ubuntu)
set -euo pipefail
command -v fio >/dev/null || { echo "bench-fio: fio is not installed: apt-get install fio" >&2; exit 1; }
exec "$(dirname "$0")/bench-engine.sh" reads writes
