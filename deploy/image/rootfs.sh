#!/bin/sh
# Makes the root file system of the image: the binary, the libraries it needs, certificates, and a user. Nothing
# else is in it, no shell either. The Dockerfile and the tests use it.
#
#   rootfs.sh BINARY DIRECTORY      the directory is made and must not exist
set -eu

[ "$#" = 2 ] || { sed -n '5s/^# *//p' "$0" >&2; exit 64; }
binary=$1 root=$2
license=$(cd "$(dirname "$0")/../.." && pwd)/LICENSE
certificates=/etc/ssl/certs/ca-certificates.crt

fail() { echo "rootfs: $1" >&2; exit 1; }

[ -x "$binary" ] || fail "$binary is no program; build it first (cargo build --release)"
[ ! -e "$root" ] || fail "$root exists"
[ -f "$certificates" ] || fail "no $certificates (Debian: apt-get install ca-certificates)"

umask 022
mkdir -p "$root/usr/local/bin" "$root/etc/ssl/certs" "$root/etc/tidemill" "$root/usr/share/doc/tidemill" \
    "$root/var/lib/tidemill" "$root/tmp" "$root/proc" "$root/dev" "$root/sys"
chmod 1777 "$root/tmp"
if command -v strip >/dev/null 2>&1; then
    strip -o "$root/usr/local/bin/tidemill" "$binary"
else
    cp "$binary" "$root/usr/local/bin/tidemill"
fi
chmod 755 "$root/usr/local/bin/tidemill"

# Each library at its own path, as a file and not as a link to one.
ldd "$binary" | sed -n 's/^\t\(.* => \)\{0,1\}\(\/[^ ]*\) (0x.*$/\2/p' > "$root/tmp/libraries"
ldd "$binary" | grep 'not found' >&2 && fail "libraries are missing"
while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
    chmod 755 "$root$library"
done < "$root/tmp/libraries"
rm "$root/tmp/libraries"

cp -L "$certificates" "$root/etc/ssl/certs/"
cp "$license" "$root/usr/share/doc/tidemill/"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
printf '%s\n' 'root:x:0:0:root:/:/nowhere' 'tidemill:x:65532:65532:tidemill:/var/lib/tidemill:/nowhere' > "$root/etc/passwd"
printf '%s\n' 'root:x:0:' 'tidemill:x:65532:' > "$root/etc/group"
# A volume that is mounted here for the first time belongs to the user.
[ "$(id -u)" != 0 ] || chown 65532:65532 "$root/var/lib/tidemill"
