#!/usr/bin/env bash
# The figures of `make bench`, one after the other on this machine, each beside what it is held against.
set -euo pipefail
cd "$(dirname "$0")/.."
bin="${CARGO_TARGET_DIR:-target}/release"
tidemill="target/release/tidemill"

echo "machine: $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), load $(cut -d' ' -f1-3 /proc/loadavg)"

echo
echo "== keyed window: keyBy(auction), 10 s tumbling count and sum, beside a hand-written loop (at least half its speed)"
"$bin/keyed_window"

echo
echo "== state: what checkpoints cost a keyed window, and files of state beside raw RocksDB"
"$bin/state"

echo
echo "== checkpoints: one a second beside none, whole jobs on the RocksDB backend (at most 5 % slower)"
"$bin/checkpoint_cost"

echo
echo "== exchange: every row through a keyed exchange, in one process and between two task managers"
"$bin/shuffle"

echo
echo "== two task managers: the keyed window across two processes, beside one at the same parallelism"
"$bin/task_managers"

echo
echo "== recovery: with 1 GB of state, the last row before a task manager is killed, or the job rescaled, to the first beyond it"
"$bin/recovery"

echo
echo "== large state: 10 GB of keyed state in a task manager of 1 GB, killed on the way (resident memory within the 1 GB)"
"$bin/large_state"

echo
echo "== json: decoding four of seven fields, beside the libraries (at least the best of them)"
"$bin/json_decode"

echo
echo "== start: process start to the first result of a one-row job (under 300 ms)"
script=$(mktemp --suffix=.sql)
trap 'rm -f "$script"' EXIT
echo "SELECT 'first' AS result;" > "$script"
for _ in 1 2 3 4 5; do
    begun=$(date +%s%N)
    "$tidemill" run "$script" 2> /dev/null | head -n 1 > /dev/null
    echo "$(( ($(date +%s%N) - begun) / 1000000 ))"
done | sort -n | awk '{ times = times $1 " ms "; worst = $1 } END { print times (worst < 300 ? "met" : "MISSED") }'

echo
echo "== idle memory of a job manager and a task manager (under 80 MB together)"
port=$((10000 + RANDOM % 20000))
"$tidemill" jobmanager --rest-port 0 --jobmanager-rpc-port "$port" 2> /dev/null &
jobmanager=$!
"$tidemill" taskmanager --jobmanager-rpc-port "$port" 2> /dev/null &
taskmanager=$!
sleep 3
awk '/VmRSS/ { printf "%d MB ", $2 / 1024; all += $2 / 1024 } END { print all < 80 ? "met" : "MISSED" }' \
    "/proc/$jobmanager/status" "/proc/$taskmanager/status"
kill "$taskmanager" "$jobmanager"
wait "$taskmanager" "$jobmanager" 2> /dev/null || true
