#!/usr/bin/env bash
# Makes the files of a release in build/dist from the last commit: its sources, and the crates for a build without network.
# One commit gives the same bytes in every folder: names are sorted, owners are 0, and all times are the commit's.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

git rev-parse -q --verify HEAD >/dev/null 2>&1 || die "This is no checkout with a commit: a release is made of the last commit by git."
version=$(git show HEAD:Cargo.toml | sed -n 's/^version = "\(.*\)"$/\1/p' | head -n 1)
name=mod_md_rs-$version
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One thread, as several cut the file into blocks.
pack() { env -u XZ_OPT -u XZ_DEFAULTS xz "${XZ_PRESET:--6}" --threads=1 >"build/dist/$1" && say "build/dist/$1"; }
sorted_tar() {
    tar --create --format=gnu --sort=name --mtime="@$(git log -1 --format=%ct)" --owner=0 --group=0 --numeric-owner \
        --mode=u+rw,go=rX -C "$work/$name" "$1"
}

rm -rf build/dist
mkdir -p build/dist
git -c tar.umask=0022 archive --format=tar --prefix="$name/" HEAD >"$work/sources.tar"
tar -xf "$work/sources.tar" -C "$work"
(cd "$work/$name" && "${CARGO:-cargo}" vendor -q --locked --versioned-dirs vendor >/dev/null)
# `make` hands this to cargo where there is a folder vendor.
cat >"$work/$name/vendor/config.toml" <<'TOML'
[source.crates-io]
replace-with = "vendor"

[source.vendor]
directory = "vendor"
TOML
pack "$name.tar.xz" <"$work/sources.tar"
sorted_tar vendor | pack "$name-vendor.tar.xz"
