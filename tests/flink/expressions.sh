#!/bin/sh
# Records what the real Flink answers to random expressions: expressions.sh SEED COUNT FILE
#
# FILE gets a comment line, the columns, the rows and one line an expression (see Expressions.java);
# planner/tests/expressions.rs compares. What is committed is seed 1, 5200 expressions:
#   tests/flink/expressions.sh 1 5200 tests/sql/expressions.txt
set -eu
here=$(cd "$(dirname "$0")" && pwd)
seed="$1"; count="$2"; file="$3"
home=$("$here/setup.sh")
work=$(mktemp -d "${TMPDIR:-/tmp}/tidemill-expressions.XXXXXX")
trap 'rm -rf "$work"' EXIT

python3 "$here/expressions.py" --rows > "$work/rows.json"
python3 "$here/expressions.py" "$seed" "$count" > "$work/expressions"

opens=""
for p in java.lang java.net java.io java.nio java.lang.reflect java.text java.time \
    java.util java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks
do
    opens="$opens --add-opens=java.base/$p=ALL-UNNAMED"
done

# shellcheck disable=SC2086  # the options are words
java $opens -Xmx2g -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Duser.timezone=UTC -Dfile.encoding=UTF-8 \
    "-Dthreads=${THREADS:-2}" -Dlog4j2.configurationFile="$here/log4j2.properties" \
    -cp "$home/classes:$home/lib/*" Expressions "$(python3 "$here/expressions.py" --ddl)" "$work/rows.json" "$work/expressions" "$work/answers" > "$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
{
    echo "# flink $(cat "$home/version"), America/New_York; seed $seed, $count expressions (tests/flink/expressions.sh)"
    python3 "$here/expressions.py" --ddl
    cat "$work/rows.json"
    echo
    cat "$work/answers"
} > "$file"
