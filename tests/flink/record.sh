#!/bin/sh
# Records what the real Flink answers: record.sh [NAME ...]
#
# Runs tests/sql/NAME.sql (all of them without names) in one JVM and writes tests/sql/NAME.expected:
# a comment line with Flink's version and the options the script set, then for each output a line
# `== NAME` (the directory of a sink under ${out}, or select-N for the N-th top-level SELECT) and
# its records, sorted bytewise. Compare as multisets. Scripts that SET 'execution.runtime-mode' = 'batch' at the
# beginning of a line run in batch mode; of those with a line `-- ordered` records are in the order in which they
# came. A file whose name begins with `_` (a mark such as _SUCCESS) is an output of its own, by its path; what is
# below a directory whose name begins with `_` is left out: a script reads binary files back.
#
# SQL_DIR overrides the directory of the scripts (default tests/sql), PARALLELISM the parallelism (1;
# what is committed was recorded at 1).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sql="${SQL_DIR:-$here/../sql}"
home=$("$here/setup.sh")
out=$(mktemp -d "${TMPDIR:-/tmp}/tidemill-flink.XXXXXX")
trap 'rm -rf "$out"' EXIT

if [ $# -eq 0 ]; then
    for f in "$sql"/*.sql; do set -- "$@" "$f"; done
else
    for name in "$@"; do shift; set -- "$@" "$sql/$name.sql"; done
fi

opens=""
for p in java.lang java.net java.io java.nio java.lang.reflect java.text java.time \
    java.util java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks
do
    opens="$opens --add-opens=java.base/$p=ALL-UNNAMED"
done

# shellcheck disable=SC2086  # the options are words
java $opens -Xmx2g -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "-Dparallelism=${PARALLELISM:-1}" -Duser.timezone=UTC -Dfile.encoding=UTF-8 \
    -Dlog4j2.configurationFile="$here/log4j2.properties" \
    -cp "$home/classes:$home/lib/*:$home/formats/*" Oracle "$(cd "$here/../sql" && pwd)/data" "$out" "$@"
