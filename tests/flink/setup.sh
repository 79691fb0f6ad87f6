#!/bin/sh
# Installs a real Apache Flink, the oracle of tests/sql, into a cache outside the checkout,
# and compiles the programs in this directory against it. Running it again is cheap.
#
# Prints the directory it installed to. It holds:
#   lib/      the jars of a Flink distribution (what `flink/lib` holds)
#   formats/  the formats parquet and avro, which Flink ships apart, and the Hadoop classes they need
#   extra/    connectors that Flink ships apart (only with --connectors)
#   classes/  the compiled programs of tests/flink
#   version   the version, one line
#
# Exits with 77 and a reason on stderr where Flink or Java cannot be had.
set -eu

FLINK_VERSION="${FLINK_VERSION:-2.3.0}"
KAFKA_CONNECTOR="${FLINK_KAFKA_CONNECTOR:-5.0.0-2.2}"
KAFKA_CLIENTS="${FLINK_KAFKA_CLIENTS:-4.1.2}"
JDBC_CONNECTOR="${FLINK_JDBC_CONNECTOR:-4.0.0-2.0}"
POSTGRES_DRIVER="${FLINK_POSTGRES_DRIVER:-42.7.4}"
HADOOP="${FLINK_HADOOP:-3.3.6}"

here=$(cd "$(dirname "$0")" && pwd)
cache="${TIDEMILL_CACHE:-$HOME/.cache/tidemill}"
home="$cache/flink/$FLINK_VERSION"

skip() { echo "flink: $1" >&2; exit 77; }

# Only one process at a time fills the cache.
mkdir -p "$cache/flink"
exec 9> "$cache/flink/.lock"
flock 9

command -v javac >/dev/null 2>&1 || skip "no javac; install a JDK 17 (Debian: apt-get install openjdk-17-jdk-headless)"

if [ ! -f "$home/version" ]; then
    command -v python3 >/dev/null 2>&1 || skip "no python3, whose package index carries Flink's jars"
    work="$home.partial.$$"
    trap 'rm -rf "$work"' EXIT
    rm -rf "$work"
    mkdir -p "$work"
    python3 -m pip download --quiet --no-deps --dest "$work" \
        "apache-flink-libraries==$FLINK_VERSION" >&2 || skip "cannot download apache-flink-libraries $FLINK_VERSION"
    (cd "$work" && python3 -m zipfile -e ./*.whl unpacked)
    rm -f "$work"/*.whl
    mkdir -p "$home"
    rm -rf "${home:?}/lib"
    mv "$work/unpacked/pyflink/lib" "$home/lib"
    rm -rf "${home:?}/opt"
    mv "$work/unpacked/pyflink/opt" "$home/opt"
    rm -rf "$work"
    trap - EXIT
    echo "$FLINK_VERSION" > "$home/version"
fi

# fetch DIRECTORY ARTIFACT...: jars from Maven Central
fetch() {
    directory=$1
    shift
    command -v mvn >/dev/null 2>&1 || skip "no mvn to fetch $* with"
    mkdir -p "$directory"
    for artifact in "$@"; do
        mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
            "-Dartifact=$artifact" "-DoutputDirectory=$directory" >&2 || skip "cannot fetch $artifact"
    done
    touch "$directory/.done"
}

if [ ! -f "$home/formats/.done" ]; then
    fetch "$home/formats" \
        "org.apache.flink:flink-sql-parquet:$FLINK_VERSION" \
        "org.apache.flink:flink-sql-avro:$FLINK_VERSION" \
        "org.apache.hadoop:hadoop-client-api:$HADOOP" \
        "org.apache.hadoop:hadoop-client-runtime:$HADOOP"
fi

if [ "${1:-}" = "--connectors" ] && [ ! -f "$home/extra/.done" ]; then
    fetch "$home/extra" \
        "org.apache.flink:flink-connector-kafka:$KAFKA_CONNECTOR" \
        "org.apache.kafka:kafka-clients:$KAFKA_CLIENTS" \
        "org.apache.flink:flink-connector-jdbc-core:$JDBC_CONNECTOR" \
        "org.apache.flink:flink-connector-jdbc-postgres:$JDBC_CONNECTOR" \
        "org.postgresql:postgresql:$POSTGRES_DRIVER"
fi

stamp=$(cat "$here"/*.java | cksum)
if [ "$(cat "$home/classes/.stamp" 2>/dev/null || true)" != "$stamp" ]; then
    rm -rf "$home/classes"
    mkdir -p "$home/classes"
    javac -nowarn -proc:none -d "$home/classes" -cp "$home/lib/*" "$here"/*.java
    echo "$stamp" > "$home/classes/.stamp"
fi

echo "$home"
