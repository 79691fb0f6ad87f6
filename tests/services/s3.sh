#!/bin/sh
# A light S3 server on 127.0.0.1 for tests (moto, in memory): conditional writes are right, and any
# access key is taken.
#
#   s3.sh start DIR PORT    start it, print its URL once it answers; it has the bucket "tidemill"
#   s3.sh stop DIR          stop what was started in DIR; its objects are gone
#
# Exits with 77 and a reason on stderr where it cannot be had. Installed under $TIDEMILL_CACHE.
set -eu
. "$(dirname "$0")/packages.sh"

START_SECONDS_MAX=60
VERSION=5.1.22
cache="${TIDEMILL_CACHE:-$HOME/.cache/tidemill}"
home="$cache/moto-$VERSION"

skip() { echo "s3: $1" >&2; exit 77; }
fail() { echo "s3: $1" >&2; exit 1; }

install() {
    [ -x "$home/bin/moto_server" ] && return 0
    mkdir -p "$cache"
    # A virtual environment cannot be moved: what is there only in part is made anew.
    rm -rf "$home"
    if ! python3 -m venv "$home" >/dev/null 2>&1; then
        rm -rf "$home"
        install_package python3-venv
        python3 -m venv "$home" >/dev/null 2>&1 \
            || { rm -rf "$home"; skip "python3 makes no virtual environment (Debian: apt-get install python3-venv)"; }
    fi
    "$home/bin/python" -m pip install -q --disable-pip-version-check "moto[server]==$VERSION" >&2 \
        || { rm -rf "$home"; skip "moto cannot be installed from the Python package index"; }
}

alive() { [ -f "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2>/dev/null; }

answers() { "$home/bin/python" -c "
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], method=sys.argv[2])
urllib.request.urlopen(request, timeout=5)" "$1" "$2" >/dev/null 2>&1; }

start() {
    dir=$1 port=$2
    install
    mkdir -p "$dir"
    nohup "$home/bin/moto_server" -H 127.0.0.1 -p "$port" > "$dir/log" 2>&1 < /dev/null &
    echo "$!" > "$dir/pid"
    tries=$((START_SECONDS_MAX * 5))
    until answers "http://127.0.0.1:$port/tidemill" PUT; do
        tries=$((tries - 1))
        if [ "$tries" -le 0 ] || ! alive "$dir"; then
            stop "$dir"
            fail "did not start on port $port: $(tail -1 "$dir/log")"
        fi
        sleep 0.2
    done
    echo "http://127.0.0.1:$port"
}

stop() {
    alive "$1" && kill "$(cat "$1/pid")" 2>/dev/null || true
    rm -f "$1/pid"
}

case "${1:-}:$#" in
    start:3) start "$2" "$3" ;;
    stop:2) stop "$2" ;;
    *) echo "usage: s3.sh start DIR PORT | stop DIR" >&2; exit 64 ;;
esac
