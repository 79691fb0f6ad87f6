# Read by the scripts beside it: installs a Debian package as root; does nothing where that cannot be
# done, so whoever calls looks for the program again. Several tests may install at the same time.
install_package() {
    { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; } || return 0
    apt_get install "$1" || { apt_get update && apt_get install "$1"; } || true
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive flock "${TMPDIR:-/tmp}/tidemill-apt.lock" \
        apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" >/dev/null 2>&1 9>&-
}
