#!/bin/sh
# Packs a root file system as an image, without a container engine: an archive in the OCI layout, which
# `docker load`, `podman load`, `ctr image import` and `skopeo copy oci-archive:...` read. The same input gives the
# same bytes.
#
#   oci.sh ROOTFS VERSION ARCHIVE
set -eu

[ "$#" = 3 ] || { sed -n '6s/^# *//p' "$0" >&2; exit 64; }
root=$1 version=$2 archive=$3
case $(uname -m) in
    x86_64) architecture=amd64 ;;
    aarch64) architecture=arm64 ;;
    *) architecture=$(uname -m) ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
blobs="$work/image/blobs/sha256"
mkdir -p "$blobs"

pack() { tar --sort=name --mtime=@0 --numeric-owner --format=posix --pax-option=delete=atime,delete=ctime "$@"; }
digest() { sha256sum "$1" | cut -d' ' -f1; }
# Keeps a file under its digest, and prints that and its size.
keep() {
    sum=$(digest "$1")
    mv "$1" "$blobs/$sum"
    echo "\"digest\":\"sha256:$sum\",\"size\":$(wc -c < "$blobs/$sum")"
}

# All is the root's but the directory of data.
pack -C "$root" --owner=0 --group=0 --exclude=./var/lib/tidemill -cf "$work/layer" .
pack -C "$root" --owner=65532 --group=65532 -rf "$work/layer" ./var/lib/tidemill
layer=$(digest "$work/layer")
gzip -n "$work/layer"
layer_blob=$(keep "$work/layer.gz")
cat > "$work/config" <<CONFIG
{"architecture":"$architecture","os":"linux","config":{"User":"65532:65532","Entrypoint":["/usr/local/bin/tidemill"],"Cmd":["--help"],"WorkingDir":"/var/lib/tidemill","Env":["PATH=/usr/local/bin"],"ExposedPorts":{"6122/tcp":{},"6123/tcp":{}},"Labels":{"org.opencontainers.image.title":"tidemill","org.opencontainers.image.version":"$version","org.opencontainers.image.licenses":"Apache-2.0"}},"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]}}
CONFIG
config_blob=$(keep "$work/config")
cat > "$work/manifest" <<MANIFEST
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json",$config_blob},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip",$layer_blob}]}
MANIFEST
manifest_blob=$(keep "$work/manifest")
cat > "$work/image/index.json" <<INDEX
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",$manifest_blob,"platform":{"architecture":"$architecture","os":"linux"},"annotations":{"io.containerd.image.name":"docker.io/library/tidemill:$version","org.opencontainers.image.ref.name":"$version"}}]}
INDEX
echo '{"imageLayoutVersion":"1.0.0"}' > "$work/image/oci-layout"
pack -C "$work/image" --owner=0 --group=0 -cf "$archive" .
