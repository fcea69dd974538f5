"""The proxy of the environment, and what MDHttpProxy says about it."""

from __future__ import annotations

import pytest

from harness.a2md import A2md
from harness.httpd import Httpd
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.pki import Pki
from harness.proxy import Proxy
from harness.sandbox import Sandbox
from harness.world import World

pytestmark = pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
NAME = "a.example.org"
NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def proxy(world: World) -> Proxy:
    return world.proxy()


def _of_ca(proxy: Proxy, pebble: Pebble) -> int:
    return proxy.tunnels.count(f"localhost:{pebble.port}")


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy"])
def test_authorities_are_reached_by_the_proxy_of_the_environment(httpd: Httpd, pebble: Pebble, proxy: Proxy, variable: str) -> None:
    httpd.env |= {variable: f"http://user:secret@127.0.0.1:{proxy.port}", "no_proxy": ""}
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
    assert _of_ca(proxy, pebble) > 0
    if httpd.module.name == "ours":
        # One line for each child that asks the CA: the one after the restart may have asked when to renew.
        lines = httpd.log.find("MD0062")
        words = f"the proxy 127.0.0.1:{proxy.port}, as {variable} in the environment says"
        assert lines and all(words in line.text for line in lines)
        assert "secret" not in httpd.sandbox.error_log.read_text()


def _reach(world: World) -> dict[str, bool]:
    """Whether the proxy is asked, by what the environment has."""
    pebble, proxy, used = world.pebble(nonce_reject=0), world.proxy(), {}
    httpd = world.httpd(pebble)
    httpd.config.managed(NAME)
    environments = {
        "https": {"https_proxy": proxy.url},
        "in capitals": {"HTTPS_PROXY": proxy.url},
        "of http": {"http_proxy": proxy.url},
        "not for all": {"https_proxy": proxy.url, "no_proxy": "example.org, localhost"},
        "not for others": {"https_proxy": proxy.url, "no_proxy": "example.org"},
        "for none": {"ALL_PROXY": proxy.url, "NO_PROXY": "*"},
    }
    for name, environment in environments.items():
        httpd.env, before = environment, _of_ca(proxy, pebble)
        httpd.start().wait_staged(NAME)
        httpd.stop()
        world.sandbox.remove_store()
        used[name] = _of_ca(proxy, pebble) > before
    return used


def test_the_environment_is_read_as_by_the_c_module() -> None:
    found = Oracle().both(_reach)
    assert [name for name, used in found.items() if used] == ["https", "in capitals", "not for others"]


@pytest.mark.module("ours")
def test_what_is_configured_goes_before_the_environment(httpd: Httpd, pebble: Pebble, proxy: Proxy) -> None:
    httpd.env["https_proxy"] = NOBODY
    httpd.config.add(f"MDHttpProxy {proxy.url}").managed(NAME)
    httpd.config.md_set("none.example.org", "MDHttpProxy none").http("none.example.org").https("none.example.org")
    httpd.start().wait_staged(NAME, "none.example.org")
    tunnels = _of_ca(proxy, pebble)
    assert tunnels > 0 and "as MDHttpProxy says" in httpd.log.find("MD0062")[0].text
    httpd.config.clear().add("MDHttpProxy none").managed("b.example.org")
    httpd.graceful().obtain("b.example.org")
    assert _of_ca(proxy, pebble) == tunnels


@pytest.mark.module("ours")
def test_a_proxy_of_the_environment_that_fails_is_told_with_its_variable(httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.env["https_proxy"] = "http://user:secret@127.0.0.1:1"
    httpd.config.add("MDRetryDelay 1d").managed(NAME)
    httpd.log.expects("AH10056")
    httpd.start().wait_log("AH10056")
    text = httpd.log.find("AH10056")[0].text
    assert "the proxy 127.0.0.1:1 of https_proxy cannot be used" in text and "'MDHttpProxy none' does without" in text
    assert "secret" not in sandbox.error_log.read_text()


@pytest.mark.module("ours")
def test_a_proxy_that_wants_another_password_is_told_without_it(
    httpd: Httpd, pebble: Pebble, proxy: Proxy, sandbox: Sandbox
) -> None:
    proxy.login = "user:s@fe"
    httpd.config.add("MDRetryDelay 1d", f"MDHttpProxy http://user:secret@127.0.0.1:{proxy.port}").managed(NAME)
    httpd.log.expects("AH10056")
    httpd.start().wait_log("AH10056")
    text = httpd.log.find("AH10056")[0].text
    assert f"the proxy 127.0.0.1:{proxy.port} of MDHttpProxy cannot be used: it answers 407" in text
    assert "missing or wrong" in text and "user:password@host:port" in text
    assert "secret" not in sandbox.error_log.read_text() and proxy.tunnels == []
    httpd.config.clear().add(f"MDHttpProxy http://user:s%40fe@127.0.0.1:{proxy.port}").managed(NAME)
    httpd.graceful().obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified and _of_ca(proxy, pebble) > 0


@pytest.mark.module("ours")
@pytest.mark.parametrize("configured", [False, True])
def test_responders_are_asked_through_the_proxy_unless_that_is_none(world: World, pki: Pki, proxy: Proxy, configured: bool) -> None:
    ca, httpd = pki.ca().intermediate("Issuer"), world.httpd()
    responder = world.responder(ca)
    leaf = ca.leaf(NAME, ocsp_url=responder.url)
    responder.says(leaf, "good")
    httpd.env["http_proxy"] = proxy.url
    httpd.config.add("MDStapling on", "MDCertificateAuthority https://localhost:1/dir", *(["MDHttpProxy none"] if configured else []))
    httpd.config.md_set(NAME, f"MDCertificateFile {leaf.chain_file}", f"MDCertificateKeyFile {leaf.key_file}").https(NAME)
    httpd.start().wait(lambda: httpd.served(NAME, status=True).staple, what="staple")
    assert bool(proxy.requests) is not configured
    if not configured:
        assert "as http_proxy in the environment says" in httpd.log.find("MD0062")[0].text


@pytest.mark.module("ours")
def test_a2md_goes_by_the_environment_unless_told_otherwise(httpd: Httpd, pebble: Pebble, proxy: Proxy, sandbox: Sandbox) -> None:
    httpd.config.add("MDRenewMode manual").managed(NAME)
    httpd.start()
    cli = A2md(sandbox, pebble)
    assert cli("update", NAME, "contacts", "admin@example.org").code == 0
    by_environment = cli.with_env(https_proxy=proxy.url)
    assert by_environment("drive", "-f", NAME).code == 0
    tunnels = _of_ca(proxy, pebble)
    assert tunnels > 0
    assert by_environment.with_options("-p", "none")("drive", "-f", NAME).code == 0
    assert _of_ca(proxy, pebble) == tunnels
    failed = by_environment.with_options("-p", NOBODY)("drive", "-f", NAME)
    assert failed.code == 1 and "127.0.0.1:1" in failed.err
