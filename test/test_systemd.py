"""What contrib/systemd has, as far as it can be tried without systemd."""

from __future__ import annotations

import configparser
import shutil
import subprocess

import pytest

from harness.httpd import Httpd
from harness.module import REPO
from harness.pebble import Pebble
from harness.sandbox import Sandbox

NAME = "hardened.example.org"
FOLDER = REPO / "contrib/systemd"
# Everything is read-only but the folder of the test, which stands for ReadWritePaths.
_PROTECTED = 'mount --bind "$0" "$0" && mount --make-rprivate / && mount -o remount,bind,ro / && exec "$@"'


def test_a_server_with_the_rights_of_the_drop_in_renews(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(FOLDER / "md.conf")
    service = unit["Service"]
    assert service["ProtectSystem"] == "strict"
    rights = "".join(f",+{right.removeprefix('CAP_').lower()}" for right in service["CapabilityBoundingSet"].split())
    httpd.foreground = True
    # The pool of keys of the tests wants to write.
    httpd.env["RSA_KEYS"] = ""
    limited = ["setpriv", "--no-new-privs", "--bounding-set", f"-all{rights}"]
    httpd.prefix = ["unshare", "--mount", "sh", "-c", _PROTECTED, str(sandbox.root), *limited]
    httpd.config.add("MDActivation live").managed(NAME)
    httpd.start()
    httpd.wait(lambda: httpd.get(f"https://{NAME}/").status == 200, what="a certificate")
    httpd.graceful()
    assert httpd.served(NAME, ca=pebble.root).verified


@pytest.mark.parametrize("unit", sorted(FOLDER.glob("*.timer")), ids=lambda unit: unit.name)
def test_units_are_valid(unit: object) -> None:
    if not (verify := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is missing")
    done = subprocess.run([verify, "verify", str(unit)], capture_output=True, text=True)
    # A service that is started needs its program.
    said = [line for line in done.stderr.splitlines() if "is not executable" not in line and "Unit configuration has" not in line]
    assert not said, said
