#!/bin/sh
# A real PostgreSQL on 127.0.0.1 for tests: its own cluster, no password, logical WAL.
#
#   postgres.sh start DIR PORT    start it with its data in DIR, print its connection URL once it answers
#   postgres.sh stop DIR          stop what was started in DIR (the data stays)
#   postgres.sh sql DIR           run the SQL on stdin against it, print rows as unaligned text
#
# PostgreSQL refuses root: as root everything runs as the user `nobody` (PG_USER overrides).
# Starting in a DIR whose server was killed recovers its data. Durability to disk is off: a killed
# process loses nothing, a killed machine may.
# Exits with 77 and a reason on stderr where PostgreSQL cannot be had.
set -eu

START_SECONDS_MAX=60
DATABASE=tidemill
ROLE=tidemill

skip() { echo "postgres: $1" >&2; exit 77; }
fail() { echo "postgres: $1" >&2; exit 1; }

find_bin() {
    if command -v initdb >/dev/null 2>&1; then dirname "$(command -v initdb)"; return; fi
    for d in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin; do
        [ -x "$d/initdb" ] && found=$d
    done
    echo "${found:-}"
}

install() {
    bin=$(find_bin)
    if [ -z "$bin" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        # The package would otherwise create and start a cluster of its own on port 5432.
        mkdir -p /etc/postgresql-common
        [ -f /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
        apt-get install -y -qq postgresql >/dev/null 2>&1 \
            || { apt-get update -qq >/dev/null 2>&1 && apt-get install -y -qq postgresql >/dev/null 2>&1; } || true
        bin=$(find_bin)
    fi
    [ -n "$bin" ] || skip "no initdb; install PostgreSQL (Debian: apt-get install postgresql)"
}

# Runs a command as the user the server runs as.
as_user() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid "${PG_USER:-nobody}" --regid "$(id -g "${PG_USER:-nobody}")" --clear-groups "$@"
    else
        "$@"
    fi
}

alive() { [ -f "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2>/dev/null && grep -q postgres "/proc/$(cat "$1/pid")/cmdline" 2>/dev/null; }

answers() { as_user "$bin/psql" -h 127.0.0.1 -p "$1" -U "$ROLE" -d postgres -Atqc 'select 1' >/dev/null 2>&1; }

start() {
    dir=$1 port=$2
    install
    url="postgresql://$ROLE@127.0.0.1:$port/$DATABASE"
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    if alive "$dir"; then
        [ "$(cat "$dir/port")" = "$port" ] || fail "$dir already runs a server on port $(cat "$dir/port")"
        echo "$url"
        return 0
    fi
    [ "$(id -u)" != 0 ] || chown "${PG_USER:-nobody}" "$dir"
    as_user test -w "$dir" || fail "user ${PG_USER:-nobody} cannot write $dir: a directory above it is closed to it"
    if [ ! -f "$dir/data/PG_VERSION" ]; then
        (cd / && as_user "$bin/initdb" -D "$dir/data" -U "$ROLE" -A trust -E UTF8 --locale=C.UTF-8 --no-sync > "$dir/initdb.log" 2>&1) \
            || fail "initdb: $(tail -1 "$dir/initdb.log")"
    fi
    echo "$port" > "$dir/port"
    # A killed server may leave its children to end by themselves; until then the data is locked.
    (cd / && as_user nohup "$bin/postgres" -D "$dir/data" -h 127.0.0.1 -p "$port" -k "$dir/data" \
        -c wal_level=logical -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
        -c max_connections=50 -c shared_buffers=32MB -c max_wal_senders=8 -c max_replication_slots=8 \
        -c max_prepared_transactions=50 -c timezone=UTC -c log_timezone=UTC \
        > "$dir/log" 2>&1 < /dev/null & echo $! > "$dir/pid")
    tries=$((START_SECONDS_MAX * 20))
    until answers "$port"; do
        tries=$((tries - 1))
        if [ "$tries" -le 0 ] || ! kill -0 "$(cat "$dir/pid")" 2>/dev/null; then
            reason=$(grep -E 'FATAL|ERROR' "$dir/log" | tail -1)
            stop "$dir"
            fail "did not start on port $port: ${reason:-no answer in $START_SECONDS_MAX s}"
        fi
        sleep 0.05
    done
    as_user "$bin/psql" -h 127.0.0.1 -p "$port" -U "$ROLE" -d postgres -Atqc "select 1 from pg_database where datname = '$DATABASE'" | grep -q 1 \
        || as_user "$bin/psql" -h 127.0.0.1 -p "$port" -U "$ROLE" -d postgres -qc "create database $DATABASE"
    echo "$url"
}

stop() {
    if alive "$1"; then
        pid=$(cat "$1/pid")
        kill -INT "$pid"
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -QUIT "$pid" 2>/dev/null || true
    fi
    rm -f "$1/pid"
}

sql() {
    [ -f "$1/port" ] || fail "nothing was started in $1"
    install
    (cd / && as_user "$bin/psql" -h 127.0.0.1 -p "$(cat "$1/port")" -U "$ROLE" -d "$DATABASE" -v ON_ERROR_STOP=1 -Atq)
}

case "${1:-}:$#" in
    start:3) start "$2" "$3" ;;
    stop:2) stop "$2" ;;
    sql:2) sql "$2" ;;
    *) sed -n '4,6s/^# *//p' "$0" >&2; exit 2 ;;
esac
