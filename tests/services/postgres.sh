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
. "$(dirname "$0")/packages.sh"

START_SECONDS_MAX=60
DATABASE=tidemill
ROLE=tidemill

skip() { echo "postgres: $1" >&2; exit 77; }
fail() { echo "postgres: $1" >&2; exit 1; }

find_bin() {
    on_path=$(command -v initdb || true)
    [ -z "$on_path" ] || on_path=$(dirname "$(readlink -f "$on_path")")
    for d in "$on_path" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin; do
        [ -x "$d/initdb" ] && [ -x "$d/psql" ] && found=$d
    done
    echo "${found:-}"
}

install() {
    bin=$(find_bin)
    if [ -z "$bin" ] && [ "$(id -u)" = 0 ]; then
        # The package would otherwise create and start a cluster of its own on port 5432.
        mkdir -p /etc/postgresql-common
        [ -f /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
        install_package postgresql
        bin=$(find_bin)
    fi
    [ -n "$bin" ] || skip "no initdb; install PostgreSQL (Debian: apt-get install postgresql)"
}

# What runs a command as the user the server runs as. Words, not a function: a function in the
# background is a shell whose process id is not the server's.
as_user=
[ "$(id -u)" != 0 ] || as_user="setpriv --reuid ${PG_USER:-nobody} --regid $(id -g "${PG_USER:-nobody}") --clear-groups"

# True while the process that was started in a directory runs; neither a zombie nor another process
# that got its id counts.
alive() {
    [ -f "$1/pid" ] && [ "$(started "$(cat "$1/pid")")" = "$(cat "$1/started" 2>/dev/null)" ]
}

# The start time of a process in clock ticks; nothing for a dead one.
started() {
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || { echo dead; return; }
    # shellcheck disable=SC2086  # fields
    set -- ${stat##*) }
    if [ "$1" = Z ] || [ "$1" = X ]; then echo dead; else echo "${20}"; fi
}

# Ends the process of a directory: the signal, then after ten seconds the next one.
end() {
    for signal in "$2" "$3"; do
        alive "$1" || break
        kill "-$signal" "$(cat "$1/pid")" 2>/dev/null || true
        for _ in $(seq 100); do alive "$1" || break; sleep 0.1; done
    done
    rm -f "$1/pid" "$1/started"
}

# The processes at work in a data directory (PostgreSQL's all change into it).
users_of() {
    for p in /proc/[0-9]*; do
        [ "$(readlink "$p/cwd" 2>/dev/null)" = "$1" ] && echo "${p#/proc/}"
    done
    return 0
}

# True when a port is taken and stays so: what was killed a moment ago may still hold it.
in_use() {
    for _ in 1 2 3 4 5; do
        bash -c "exec 3<>/dev/tcp/127.0.0.1/$1" 2>/dev/null || return 1
        sleep 0.2
    done
}


start() {
    dir=$1 port=$2
    install
    url="postgresql://$ROLE@127.0.0.1:$port/$DATABASE"
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    # One that was killed a moment ago may not be gone yet.
    if alive "$dir" && sleep 0.3 && alive "$dir"; then
        [ "$(cat "$dir/port")" = "$port" ] || fail "$dir already runs a server on port $(cat "$dir/port")"
        echo "$url"
        return 0
    fi
    in_use "$port" && fail "port $port is taken"
    [ "$(id -u)" != 0 ] || chown "${PG_USER:-nobody}" "$dir"
    $as_user test -w "$dir" || fail "user ${PG_USER:-nobody} cannot write $dir: a directory above it is closed to it"
    if [ ! -f "$dir/data/PG_VERSION" ]; then
        (cd / && $as_user "$bin/initdb" -D "$dir/data" -U "$ROLE" -A trust -E UTF8 --locale=C.UTF-8 --no-sync > "$dir/initdb.log" 2>&1) \
            || fail "initdb: $(tail -1 "$dir/initdb.log")"
    fi
    echo "$port" > "$dir/port"
    # The children of a killed server end by themselves; only then is the data free. Its lock file
    # may name a zombie, which PostgreSQL takes for a living server.
    if [ -f "$dir/data/postmaster.pid" ]; then
        for _ in $(seq 100); do [ -n "$(users_of "$dir/data")" ] || break; sleep 0.1; done
        [ -z "$(users_of "$dir/data")" ] || fail "$dir/data is in use by process $(users_of "$dir/data" | head -1)"
        rm -f "$dir/data/postmaster.pid"
    fi
    cd /
    $as_user nohup "$bin/postgres" -D "$dir/data" -h 127.0.0.1 -p "$port" -c unix_socket_directories= \
        -c wal_level=logical -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
        -c max_connections=50 -c shared_buffers=32MB -c max_wal_senders=8 -c max_replication_slots=8 \
        -c max_prepared_transactions=50 -c timezone=UTC -c log_timezone=UTC \
        > "$dir/log" 2>&1 < /dev/null &
    pid=$!
    started "$pid" > "$dir/started"
    echo "$pid" > "$dir/pid"
    tries=$((START_SECONDS_MAX * 20))
    until grep -qs '^ready' "$dir/data/postmaster.pid"; do
        tries=$((tries - 1))
        if [ "$tries" -le 0 ] || ! alive "$dir"; then
            reason=$(grep -E 'FATAL|ERROR' "$dir/log" | tail -1)
            stop "$dir"
            fail "did not start on port $port: ${reason:-no answer in $START_SECONDS_MAX s}"
        fi
        sleep 0.05
    done
    $as_user "$bin/psql" -h 127.0.0.1 -p "$port" -U "$ROLE" -d postgres -Atqc "select 1 from pg_database where datname = '$DATABASE'" | grep -q 1 \
        || $as_user "$bin/psql" -h 127.0.0.1 -p "$port" -U "$ROLE" -d postgres -qc "create database $DATABASE"
    echo "$url"
}

stop() { end "$1" INT QUIT; }

sql() {
    [ -f "$1/port" ] || fail "nothing was started in $1"
    install
    (cd / && $as_user "$bin/psql" -h 127.0.0.1 -p "$(cat "$1/port")" -U "$ROLE" -d "$DATABASE" -v ON_ERROR_STOP=1 -Atq)
}

case "${1:-}:$#" in
    start:3) start "$2" "$3" ;;
    stop:2) stop "$2" ;;
    sql:2) sql "$2" ;;
    *) sed -n '4,6s/^# *//p' "$0" >&2; exit 2 ;;
esac
