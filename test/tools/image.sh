#!/usr/bin/env bash
# Builds the container image of packaging/Dockerfile from the last commit, and runs it: on the official httpd image, or, as no image
# may be pulled in a test, on a Debian with httpd of the same layout, made here. Wants buildah; KEEP=1 keeps that Debian.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

# What is mounted goes with this script.
[ -n "${IN_NAMESPACE:-}" ] || IN_NAMESPACE=1 exec unshare --mount --propagation private -- "$0"
has buildah || die "buildah is missing. Run: sudo apt-get install buildah"
base=$PWD/build/fresh/image
work=$PWD/build/image
httpd=localhost/httpd:2.4-trixie
build() { buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }

if [ -z "${KEEP:-}" ] || [ ! -x "$base/usr/local/apache2/bin/httpd" ]; then
    NAME=image SUITE=trixie test/tools/fresh.sh bash test/tools/image-httpd.sh
fi
say "== the image of httpd"
rm -rf --one-file-system "$work"
mkdir -p "$work/context"
printf 'FROM scratch\nCOPY . /\nENV PATH=/usr/local/apache2/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\nWORKDIR /usr/local/apache2\nCMD ["httpd", "-DFOREGROUND"]\n' >"$work/Dockerfile"
build bud --quiet --isolation chroot --tag "$httpd" --file "$work/Dockerfile" "$base"
say "== the image of this module"
git archive HEAD | tar -x -C "$work/context"
mapfile -t settings < <(env | grep -iE '^(https?_proxy|no_proxy|CARGO_HTTP_[A-Z_]*|SSL_CERT_FILE)=' | sed 's/^/--env=/')
build bud --format docker --isolation chroot --network host "${settings[@]}" --build-arg HTTPD="$httpd" --tag httpd-md --file "$work/context/packaging/Dockerfile" "$work/context"
container=$(build from httpd-md)
root=$(build mount "$container")
for file in proc dev; do mount --rbind "/$file" "$root/$file"; done
say "== $(du -sh "$root" --one-file-system | cut -f1) in all"
build/venv/bin/python test/image.py "$root"
