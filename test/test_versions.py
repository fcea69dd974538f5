"""The version is the same everywhere, and requests to CAs name this module."""

from __future__ import annotations

import re

import pytest

from harness.a2md import a2md
from harness.httpd import Httpd
from harness.world import World

VERSION = "3.0.0"


def test_a2md_tells_its_version() -> None:
    done = a2md("-V")
    assert (done.returncode, done.stdout.strip()) == (0, f"version: {VERSION}")


def test_the_log_and_md_status_tell_the_version(lone_httpd: Httpd) -> None:
    lone_httpd.start()
    assert f"(v{VERSION}, " in lone_httpd.log.find("AH10071")[0].text
    assert lone_httpd.md_status()["version"] == VERSION


@pytest.mark.parametrize("tokens", ["Full", "Prod"])
def test_requests_to_a_ca_name_this_module_and_not_the_c_module(world: World, lone_httpd: Httpd, tokens: str) -> None:
    ca = world.recorder().says(503)
    lone_httpd.config.add(f"ServerTokens {tokens}", f"MDCertificateAuthority {ca.url}").managed("a.example.org")
    lone_httpd.config.add(f"MDPortMap http:{lone_httpd.config.http_port} https:-")
    lone_httpd.log.expects("AH10056")
    lone_httpd.log.expects("MD0080", optional=True)
    lone_httpd.start().wait_log("AH10056")
    assert (ca.requests[0].method, ca.requests[0].path) == ("GET", "/dir")
    for request in ca.requests:
        agent = request.headers["User-Agent"]
        assert re.fullmatch(rf"Apache\S* mod_md_rs/{re.escape(VERSION)}", agent), agent
