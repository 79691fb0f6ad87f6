#!/bin/sh
# Measures a real Flink on this machine: one job manager, one task manager with 2 slots and 8 GB.
#
#   run.sh sql FILE DATA      a SQL script over the JSON bids in the directory DATA
#   run.sh window             in-process bids, keyBy(auction), 10 s tumbling count and sum
#   run.sh shuffle            in-process bids, keyBy(auction), discarded
#   run.sh bids DIR ROWS      only write ROWS JSON bids into DIR (two files)
#
# Options, in front of the command: --parallelism N (2), --rows N (of the in-process jobs,
# 50000000), --state hashmap|rocksdb (hashmap), --interval T (10s) between checkpoints, --warm-rows N
# (10000000; for sql the script itself runs once before it is measured), --keep-output DIR (where sql's
# ${out} goes).
#
# One line per measured job on stdout:
#   job=KPI state=hashmap parallelism=2 events=N wall_s=S cpu_s=S cpu_s_per_million=S events_per_s=N checkpoints=N load=N [output_rows=N]
# wall is the job's duration as the cluster says, CPU is user and system time of the task manager
# between submission and end; load is the machine's load average before it, which spoils the wall time
# first. Everything it starts, it stops.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
parallelism=2 rows=50000000 warm_rows=10000000 state=hashmap interval=10s keep=
while [ $# -gt 0 ]; do
    case "$1" in
        --parallelism) parallelism=$2; shift 2 ;;
        --rows) rows=$2; shift 2 ;;
        --warm-rows) warm_rows=$2; shift 2 ;;
        --state) state=$2; shift 2 ;;
        --interval) interval=$2; shift 2 ;;
        --keep-output) keep=$2; shift 2 ;;
        *) break ;;
    esac
done
command=${1:-}
case "$command:$#:$state" in
    sql:3:hashmap | sql:3:rocksdb | window:1:hashmap | window:1:rocksdb | shuffle:1:* | bids:3:*) ;;
    *) sed -n '4,7s/^# *//p' "$0" >&2; exit 2 ;;
esac

home=$("$here/../../tests/flink/setup.sh")
cache="${TIDEMILL_CACHE:-$HOME/.cache/tidemill}/bench-flink"
stamp=$(cat "$here"/*.java | cksum | cut -d' ' -f1)
jar="$cache/bench-$stamp.jar"
if [ ! -f "$jar" ]; then
    rm -rf "$cache"
    mkdir -p "$cache/classes"
    javac -nowarn -proc:none -d "$cache/classes" -cp "$home/classes:$home/lib/*" "$here"/*.java
    jar cf "$jar" -C "$cache/classes" .
fi

opens=""
for p in java.lang java.net java.io java.nio java.lang.reflect java.text java.time \
    java.util java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks
do
    opens="$opens --add-opens=java.base/$p=ALL-UNNAMED"
done

if [ "$command" = bids ]; then
    exec java -cp "$jar:$home/lib/flink-dist-$(cat "$home/version").jar" MakeBids "$2" 2 "$3"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/tidemill-bench-flink.XXXXXX")
jm='' tm=''
cleanup() {
    for pid in $tm $jm; do kill "$pid" 2>/dev/null || true; done
    # Ten seconds to end by themselves, then they are killed.
    (
        sleep 10
        for pid in $tm $jm; do kill -9 "$pid" 2>/dev/null || true; done
    ) &
    killer=$!
    for pid in $tm $jm; do wait "$pid" 2>/dev/null || true; done
    kill "$killer" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
rest=$(free_port)
rpc=$(free_port)
mkdir -p "$work/conf" "$work/tmp" "$work/checkpoints"
# What Flink's own scripts derive from a process size of 8 GB, written out.
cat > "$work/conf/config.yaml" <<CONF
jobmanager:
  rpc: {address: 127.0.0.1, port: $rpc}
  bind-host: 127.0.0.1
  memory: {heap: {size: 1024m}, off-heap: {size: 128m}, jvm-metaspace: {size: 256m}, jvm-overhead: {min: 192m, max: 192m}}
taskmanager:
  bind-host: 127.0.0.1
  host: 127.0.0.1
  numberOfTaskSlots: 2
  cpu: {cores: 2}
  memory:
    process: {size: 8192m}
    jvm-metaspace: {size: 256m}
    jvm-overhead: {min: 819m, max: 819m}
    framework: {heap: {size: 128m}, off-heap: {size: 128m}}
    task: {heap: {size: 3303m}, off-heap: {size: 0m}}
    managed: {size: 2847m}
    network: {min: 711m, max: 711m}
rest: {address: 127.0.0.1, bind-address: 127.0.0.1, port: $rest, bind-port: $rest}
parallelism: {default: $parallelism}
pipeline: {object-reuse: true}
state: {backend: {type: $state, incremental: true}}
execution:
  checkpointing: {interval: $interval, mode: EXACTLY_ONCE, dir: "file://$work/checkpoints", incremental: true}
io: {tmp: {dirs: $work/tmp}}
CONF
log="-Dlog4j2.configurationFile=$here/../../tests/flink/log4j2.properties"
# shellcheck disable=SC2086  # the options are words
java $opens -Xms1024m -Xmx1024m $log -cp "$home/lib/*" \
    org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint --configDir "$work/conf" > "$work/jm.log" 2>&1 &
jm=$!
# shellcheck disable=SC2086
java $opens -XX:+UseG1GC -Xms3431m -Xmx3431m -XX:MaxDirectMemorySize=839m -XX:MaxMetaspaceSize=256m $log -cp "$home/lib/*" \
    org.apache.flink.runtime.taskexecutor.TaskManagerRunner --configDir "$work/conf" > "$work/tm.log" 2>&1 &
tm=$!
tries=120
until curl -sf "http://127.0.0.1:$rest/overview" 2>/dev/null | grep -q '"slots-available":2'; do
    tries=$((tries - 1))
    if [ "$tries" = 0 ] || ! kill -0 "$jm" 2>/dev/null || ! kill -0 "$tm" 2>/dev/null; then
        echo "flink: the cluster did not start" >&2
        grep -hv '^\s*at ' "$work/jm.log" "$work/tm.log" | tail -5 >&2
        exit 1
    fi
    sleep 0.5
done

# User and system time of the task manager so far, in clock ticks.
ticks() { sed 's/.*) //' "/proc/$tm/stat" | awk '{print $12 + $13}'; }

submit() {
    # shellcheck disable=SC2086
    java $opens -Xmx1g -XX:TieredStopAtLevel=1 -XX:+UseSerialGC $log -cp "$jar:$home/classes:$home/lib/*" \
        Submit "$work/conf" "$jar" "$@" 2> "$work/submit.log" || {
        echo "flink: the job failed: $(grep -E 'Caused by|Exception' "$work/submit.log" | tail -1)" >&2
        exit 1
    }
}

# measure NAME EVENTS ARGUMENT...
measure() {
    name=$1 events=$2
    shift 2
    load=$(cut -d' ' -f1 /proc/loadavg)
    before=$(ticks)
    result=$(submit "$@")
    after=$(ticks)
    output=""
    if [ "$command" = sql ]; then
        output=" output_rows=$(find "$4/" -type f ! -name '.*' -exec cat {} + 2>/dev/null | wc -l)"
    fi
    python3 - "$name" "$state" "$parallelism" "$events" "${result% *}" "${result#* }" "$((after - before))" "$(getconf CLK_TCK)" "$load" "$output" <<'PY'
import sys
name, state, parallelism, events, millis, checkpoints, ticks, hertz, load, output = sys.argv[1:]
events, wall, cpu = int(events), int(millis) / 1000, int(ticks) / int(hertz)
print(f"job={name} state={state} parallelism={parallelism} events={events} wall_s={wall:.2f} cpu_s={cpu:.2f} "
      f"cpu_s_per_million={cpu / events * 1e6:.3f} events_per_s={events / wall:.0f} checkpoints={checkpoints} load={load}{output}")
PY
}

case "$command" in
    sql)
        data=$(cd "$3" && pwd)
        events=$(cat "$data"/* | wc -l)
        out="${keep:-$work/out}"
        submit sql "$2" "$data" "$work/warm" > /dev/null
        measure "$(basename "$2" .sql)" "$events" sql "$2" "$data" "$out"
        ;;
    *)
        submit "$command" "$warm_rows" > /dev/null
        measure "$command" "$rows" "$command" "$rows"
        ;;
esac
