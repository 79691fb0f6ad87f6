#!/bin/sh
# Installs the system packages that a build needs and this machine lacks. Debian and its like; elsewhere
# it says what is missing.
set -eu

missing=""
need() { # package, test command
    if ! sh -c "$2" >/dev/null 2>&1; then missing="$missing $1"; fi
}
need g++ "command -v c++"
need make "command -v make"
need cmake "command -v cmake"
need ccache "command -v ccache"
need libclang-dev "ldconfig -p | grep -Eq 'libclang(-[0-9.]+)?[.]so' || ls /usr/lib/llvm-*/lib/libclang.so* /usr/lib/llvm-*/lib/libclang-[0-9]*.so*"
need pkg-config "command -v pkg-config"
# Tests look for processes and end them.
need procps "command -v ps"
need zlib1g-dev "pkg-config --exists zlib || test -f /usr/include/zlib.h"

if ! command -v cargo >/dev/null 2>&1; then
    echo "cargo is missing: install a Rust toolchain (rustup) first" >&2
    exit 1
fi
if [ -z "$missing" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "these packages (by their Debian names) are needed and missing:$missing" >&2
    echo "install them with this system's package manager and run make again" >&2
    exit 1
fi
sudo=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "as root, install:$missing" >&2; exit 1; }
    sudo="sudo"
fi
echo "installing:$missing"
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing
