#!/usr/bin/env bash
# Provides axe-core, which judges pages by WCAG: build/axe/axe.min.js. npm checks what it gets by the registry's sum.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh
VERSION=4.14.1
SUM=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c

mkdir -p build/axe
cannot() { say "no axe-core: $1; the test of the pages by it is skipped" | tee build/axe/missing; touch build/axe/installed; exit 0; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -f build/axe/*
has npm || cannot "npm is not installed"
npm pack --silent --pack-destination "$work" "axe-core@$VERSION" >/dev/null || cannot "npm cannot fetch it"
tar -xzOf "$work/axe-core-$VERSION.tgz" package/axe.min.js >"$work/axe.min.js"
echo "$SUM  $work/axe.min.js" | sha256sum --check --quiet || die "axe-core $VERSION is not the one that is expected."
mv "$work/axe.min.js" build/axe/axe.min.js
touch build/axe/installed
say "axe-core: build/axe/axe.min.js"
