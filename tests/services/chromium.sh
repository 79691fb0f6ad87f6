#!/bin/sh
# A headless browser for the test of the page: Debian's chromium, driven by playwright-core under Node.js, and
# axe-core, which looks for what assistive technology cannot use.
#
#   chromium.sh start DIR PORT    install what is missing, print the directory that both are in
#   chromium.sh stop DIR          nothing is left running
#
# Exits with 77 and a reason on stderr where it cannot be had. Installed under $TIDEMILL_CACHE.
set -eu
. "$(dirname "$0")/packages.sh"

PLAYWRIGHT=1.65.1
AXE=4.14.1
cache="${TIDEMILL_CACHE:-$HOME/.cache/tidemill}"
home="$cache/page-$PLAYWRIGHT-$AXE"

skip() { echo "chromium: $1" >&2; exit 77; }

start() {
    command -v node >/dev/null 2>&1 || install_package nodejs
    command -v node >/dev/null 2>&1 || skip "Node.js cannot be installed (Debian: apt-get install nodejs npm)"
    command -v npm >/dev/null 2>&1 || install_package npm
    command -v npm >/dev/null 2>&1 || skip "npm cannot be installed (Debian: apt-get install npm)"
    [ -x /usr/bin/chromium ] || install_package chromium
    [ -x /usr/bin/chromium ] || skip "chromium cannot be installed (Debian: apt-get install chromium)"
    if ! [ -f "$home/done" ]; then
        mkdir -p "$home"
        PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm install --silent --no-audit --no-fund --prefix "$home" \
            "playwright-core@$PLAYWRIGHT" "axe-core@$AXE" >&2 \
            || { rm -rf "$home"; skip "playwright-core and axe-core cannot be installed from the npm registry"; }
        touch "$home/done"
    fi
    echo "$home"
}

case "${1:-}:$#" in
    start:3) start ;;
    stop:2) ;;
    *) echo "usage: chromium.sh start DIR PORT | stop DIR" >&2; exit 64 ;;
esac
