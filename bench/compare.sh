#!/usr/bin/env bash
# The same work by Tidemill and by Apache Flink, one after the other on this machine: CPU seconds per million
# events. ROWS (default 10 million) JSON bids for the dashboard job; 50 million in-process bids for the window.
set -euo pipefail
cd "$(dirname "$0")/.."
rows="${ROWS:-10000000}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# CPU seconds (user and system) of a command.
cpu() {
    local TIMEFORMAT='%U %S'
    { time "$@" > /dev/null 2> "$work/log"; } 2> "$work/times" || { cat "$work/log" >&2; exit 1; }
    awk '{ printf "%.2f", $1 + $2 }' "$work/times"
}

# The CPU seconds per million of a line of flink/run.sh.
of_flink() { sed -n 's/.*cpu_s_per_million=\([0-9.]*\).*/\1/p' <<< "$1"; }

# verdict OURS FLINK'S PARTS: whether ours is no more than Flink's by so many parts.
verdict() {
    awk -v ours="$1" -v flink="$2" -v parts="$3" \
        'BEGIN { printf "1/%.1f of Flink, wanted 1/%d: %s\n", flink / ours, parts, ours * parts <= flink ? "met" : "MISSED" }'
}

echo "machine: $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg)"
echo "== dashboard job over $rows JSON bids, parallelism 2 (target: no more than 1/6 of Flink's CPU)"
./bench/flink/run.sh bids "$work/bids" "$rows"
sed "s#\${data}#$work/bids#g; s#\${out}#$work/out#g" bench/flink/kpi.sql > "$work/kpi.sql"
target/release/tidemill run "$work/kpi.sql" --parallelism 2 > /dev/null 2>&1
used=$(cpu target/release/tidemill run "$work/kpi.sql" --parallelism 2)
ours=$(awk -v c="$used" -v n="$rows" 'BEGIN { printf "%.3f", c * 1e6 / n }')
echo "tidemill job=KPI cpu_s=$used cpu_s_per_million=$ours"
flink=$(./bench/flink/run.sh --parallelism 2 sql bench/flink/kpi.sql "$work/bids")
echo "flink $flink"
verdict "$ours" "$(of_flink "$flink")" 6

echo "== keyed window from an in-process source, parallelism 2 (target: no more than 1/20 of Flink's CPU)"
target/release/tidemill run bench/window.sql --parallelism 2 > /dev/null 2>&1
used=$(cpu target/release/tidemill run bench/window.sql --parallelism 2)
ours=$(awk -v c="$used" 'BEGIN { printf "%.4f", c * 1e6 / 50e6 }')
echo "tidemill job=window cpu_s=$used cpu_s_per_million=$ours"
flink=$(./bench/flink/run.sh --parallelism 2 window)
echo "flink $flink"
verdict "$ours" "$(of_flink "$flink")" 20

echo "== the same two jobs on the RocksDB backend with a checkpoint a second (target: no more than 1/20 of Flink's CPU)"
with_checkpoints="SET 'state.backend.type' = 'rocksdb'; SET 'execution.checkpointing.interval' = '1 s';
SET 'execution.checkpointing.dir' = 'file://$work/checkpoints';"
rocksdb() { # NAME MILLIONS SCRIPT FLINK'S ARGUMENTS
    rm -rf "$work/out"
    { echo "$with_checkpoints"; cat "$3"; } > "$work/rocksdb.sql"
    used=$(cpu target/release/tidemill run "$work/rocksdb.sql" --parallelism 2)
    ours=$(awk -v c="$used" -v n="$2" 'BEGIN { printf "%.4f", c / n }')
    echo "tidemill job=$1 state=rocksdb cpu_s=$used cpu_s_per_million=$ours"
    shift 3
    flink=$(./bench/flink/run.sh --parallelism 2 --state rocksdb --interval 1s "$@")
    echo "flink $flink"
    verdict "$ours" "$(of_flink "$flink")" 20
}
rocksdb KPI "$(awk -v n="$rows" 'BEGIN { print n / 1e6 }')" "$work/kpi.sql" sql bench/flink/kpi.sql "$work/bids"
rocksdb window 50 bench/window.sql window

echo "== keyBy alone, 2 producers and 2 consumers, ours over TCP (target: no more than 1/5 of Flink's CPU)"
lines=$("${CARGO_TARGET_DIR:-target}/release/shuffle" 50)
echo "$lines"
ours=$(sed -n 's/^Network:.* \([0-9.]*\) CPU s.*/\1/p' <<< "$lines")
flink=$(./bench/flink/run.sh --parallelism 2 shuffle)
echo "flink $flink"
verdict "$ours" "$(of_flink "$flink")" 5
