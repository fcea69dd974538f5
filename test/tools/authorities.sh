#!/usr/bin/env bash
# Provides build/authorities, a Python with the ACME servers of test/interop/requirements.txt.
# What cannot be had is said, and its tests are skipped.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

rm -rf build/authorities
python3 -m venv build/authorities
if build/authorities/bin/python -m pip --disable-pip-version-check install -q -r test/interop/requirements.txt; then
    touch build/authorities/installed
    say "ACME servers in Python: build/authorities"
else
    rm -rf build/authorities
    say "no ACME servers in Python can be installed: their tests are skipped"
fi
