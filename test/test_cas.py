"""Several certificate authorities: fail-over, a change in the configuration, and the ways to them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from harness.a2md import A2md
from harness.httpd import Httpd
from harness.module import Module
from harness.pebble import Pebble
from harness.pki import Ca
from harness.sandbox import Sandbox
from harness.world import World

NAME = "a.example.org"


# Which authority


@pytest.mark.module("ours")
def test_the_second_authority_is_asked_after_failures_in_a_row(
    httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox
) -> None:
    second = world.pebble()
    pebble.kill()
    httpd.config.add(f"MDCertificateAuthority {pebble.directory} {second.directory}", "MDRetryFailover 2").managed(NAME)
    httpd.log.expects("AH10056", "MD0016")
    httpd.start().wait_staged(NAME)
    assert (httpd.log.count("AH10056"), httpd.log.count("MD0016")) == (2, 1)
    assert httpd.md_status(NAME)["renewal"]["ca-url"] == second.directory
    job, staged = sandbox.job(NAME), sandbox.md_json(NAME, "staging")["ca"]
    assert (job["errors"], job["ca-url"], "authorities" in job) == (0, second.directory, False)
    assert (staged["url"], staged["urls"]) == (second.directory, [pebble.directory, second.directory])

    httpd.graceful()
    assert httpd.served(NAME, ca=second.root).verified
    live = sandbox.md_json(NAME)["ca"]
    account = json.loads(sandbox.accounts(live["account"]).joinpath("account.json").read_text())
    assert (live["url"], account["ca-url"]) == (second.directory, second.directory)
    # A certificate of the second authority is as good as one of the first.
    looks = httpd.log.count("AH10107")
    httpd.wait_log("AH10107", times=looks + 3)
    assert "renew" not in httpd.md_status(NAME)
    assert second.new_orders == 1


@pytest.mark.module("ours")
def test_an_authority_without_tls_is_a_warning_and_its_password_is_shown_nowhere(
    world: World, lone_httpd: Httpd, sandbox: Sandbox
) -> None:
    httpd, ca = lone_httpd, world.recorder().says(500)
    url = ca.url.replace("http://", "http://user:secret@")
    httpd.config.add(f"MDCertificateAuthority {url} {ca.url}/other", "MDCertificateAgreement accepted", "MDRetryFailover 9")
    httpd.config.add(f"MDPortMap http:{httpd.config.http_port}", "LogLevel md:trace2", "MDServerStatus on").managed(NAME)
    httpd.log.expects("AH10056", "MD0080")
    httpd.start().wait_log("AH10056")
    shown = url.replace("user:secret", "***")
    assert len(httpd.log.find(f"the CA at {shown} is asked over http, without TLS")) == 1
    assert httpd.md_status(NAME)["ca"]["without-tls"] is True
    told = {
        "log": "\n".join(line.text for line in httpd.log.lines),
        "report": json.dumps(sandbox.job(NAME)),
        "md-status": json.dumps(httpd.md_status(NAME)),
        "pages": httpd.admin("/server-status?auto").text + httpd.admin("/server-status").text,
        "a2md": A2md(sandbox).json("list", NAME).out,
    }
    for where, text in told.items():
        assert shown in text and "secret@" not in text, where
    assert ca.requests[0].headers["Authorization"], "the password is sent"


@pytest.mark.module("ours")
def test_what_one_authority_said_survives_the_failures_of_the_next(world: World, sandbox: Sandbox) -> None:
    second = world.pebble()
    httpd, busy = world.httpd(second), world.recorder().says(503, Retry_After="3600")
    httpd.config.add(f"MDCertificateAuthority {busy.url} {second.directory}", "MDRetryFailover 1").managed(NAME)
    httpd.log.expects("AH10056", "MD0016", "MD0080")
    second.stop()
    httpd.start().wait_log("MD0016", times=2)
    job = httpd.wait(lambda: job if (job := sandbox.job(NAME)).get("errors") == 2 else None, what="two failures")
    assert [each["url"] for each in job["authorities"]] == [busy.url, second.directory]
    assert "retry-after" in job["authorities"][0] and "retry-after" not in job["authorities"][1]
    # It is the first one's turn again, when it wants.
    assert job["next-run"] == job["authorities"][0]["retry-after"]
    assert parsedate_to_datetime(job["next-run"]) - parsedate_to_datetime(job["last-run"]) > timedelta(minutes=50)

    httpd.graceful()
    assert sandbox.job(NAME)["authorities"] == job["authorities"]
    assert len(busy.requests) == 1
    # Without the first one, the second is not to be waited for.
    second.start()
    httpd.config.add(f"MDCertificateAuthority {second.directory}")
    httpd.graceful().obtain(NAME)
    assert httpd.served(NAME, ca=second.root).verified
    assert len(busy.requests) == 1


@pytest.mark.module("ours")
def test_another_authority_renews_at_once_while_the_old_certificate_serves(
    httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox
) -> None:
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    old = httpd.served(NAME, ca=pebble.root)
    second = world.pebble()
    # One more behind the present one is no change.
    httpd.config.add(f"MDCertificateAuthority {pebble.directory} {second.directory}")
    httpd.graceful()
    looks = httpd.log.count("AH10107")
    httpd.wait_log("AH10107", times=looks + 3)
    assert (pebble.new_orders, second.new_orders) == (1, 0)

    gate = world.gate(second)
    finalize = gate.hold("/finalize-order/")
    httpd.config.add(f"MDCertificateAuthority {gate.directory}")
    httpd.graceful()
    httpd.wait(lambda: finalize.held, what="a renewal with the new authority")
    assert httpd.served(NAME, ca=pebble.root).leaf == old.leaf
    status = httpd.md_status(NAME)
    assert (status["ca"]["url"], status["ca"]["urls"]) == (pebble.directory, [gate.directory])
    assert (status["renew"], status["renewal"]["ca-url"]) == (True, gate.directory)
    finalize.release()
    httpd.wait_staged(NAME).graceful()
    assert httpd.served(NAME, ca=second.root).verified
    assert sandbox.md_json(NAME)["ca"]["url"] == gate.directory
    assert "renew" not in httpd.md_status(NAME)
    assert httpd.log.count("MD0018") == 1


@pytest.mark.module("ours")
def test_an_authority_that_has_closed_is_taken_with_a_warning(lone_httpd: Httpd) -> None:
    httpd = lone_httpd
    httpd.config.add("MDCertificateAuthority Buypass-Test buypass LetsEncrypt", "MDCertificateAgreement accepted")
    httpd.config.md(NAME).http(NAME).md("b.example.org").http("b.example.org")
    httpd.log.expects("MD0017", "AH10173")
    checked = httpd.configtest()
    assert checked.ok, checked
    for host in ("api.buypass.com", "api.test4.buypass.no"):
        assert re.search(rf"MD0017: .*{host}\S* closed in 2025; configure another one, such as LetsEncrypt, for {NAME} \(2 domains\)", checked.text)


# The ways to it


class Proxy:
    """An httpd without the module that opens tunnels, on its http and its https port."""

    def __init__(self, httpd: Httpd, ca: Ca) -> None:
        self.ca, self.log = ca, httpd.log
        leaf = ca.leaf("localhost")
        rules = ["ProxyRequests On", "AllowCONNECT 1-65535", "LogLevel proxy_connect:debug"]
        certificate = [f"SSLCertificateFile {leaf.chain_file}", f"SSLCertificateKeyFile {leaf.key_file}"]
        httpd.config.load("proxy", "proxy_connect").http("localhost", *rules).https("localhost", *rules, *certificate)
        httpd.start()
        self.http, self.https = f"http://localhost:{httpd.config.http_port}", f"https://localhost:{httpd.config.https_port}"

    def tunnels(self, pebble: Pebble) -> int:
        """How many it has opened to that CA."""
        return self.log.count(f"connecting localhost:{pebble.port} to")


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    other = World("proxy", Module.absent())
    try:
        yield Proxy(other.httpd(), other.pki.ca("Proxy"))
        other.finish()
    finally:
        other.close()
        other.remove()


@pytest.mark.module("ours")
def test_authorities_are_reached_by_a_proxy_of_all_or_of_one_domain(httpd: Httpd, pebble: Pebble, proxy: Proxy) -> None:
    httpd.config.add("MDHttpProxy http://localhost:1")
    httpd.config.md_set("own.example.org", f"MDHttpProxy {proxy.http}").http("own.example.org").https("own.example.org")
    httpd.config.managed(NAME)
    httpd.log.expects(f"processing {NAME}")
    httpd.start().wait_staged("own.example.org")
    httpd.wait_log(f"processing {NAME}")
    assert pebble.new_orders == 1
    assert proxy.tunnels(pebble) > 0
    httpd.config.add(f"MDHttpProxy {proxy.http}")
    httpd.graceful().obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
    assert httpd.served("own.example.org", ca=pebble.root).verified


@pytest.mark.module("ours")
def test_a_proxy_that_speaks_https_is_verified_with_its_own_roots(
    httpd: Httpd, pebble: Pebble, proxy: Proxy, sandbox: Sandbox
) -> None:
    # A relative path starts at the server root.
    sandbox.write("proxy-ca.pem", proxy.ca.cert_file.read_text())
    httpd.config.add(f"MDHttpProxy {proxy.https}", "MDHttpProxyCACertificateFile proxy-ca.pem")
    httpd.config.managed(NAME)
    for name, file in (("wrong.example.org", str(pebble.trust)), ("none.example.org", "none")):
        httpd.config.md_set(name, f"MDHttpProxyCACertificateFile {file}").http(name).https(name)
        httpd.log.expects(f"processing {name}")
    httpd.start().obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
    assert proxy.tunnels(pebble) > 0
    for name in ("wrong.example.org", "none.example.org"):
        httpd.wait_log(f"processing {name}")
        (line, *_) = httpd.log.find(f"processing {name}")
        assert "SSL certificate problem" in line.text, line
        assert "MDHttpProxyCACertificateFile" in line.text, line
    assert pebble.new_orders == 1


@pytest.mark.module("ours")
def test_roots_for_the_authority_may_be_at_a_relative_path(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    sandbox.write("ca.pem", Path(pebble.trust).read_text())
    httpd.config.add("MDCACertificateFile none")
    httpd.config.md_set(NAME, "MDCACertificateFile ca.pem").http(NAME).https(NAME)
    httpd.start().obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
    assert sandbox.md_json(NAME)["ca-certs"] == str(sandbox.root / "ca.pem")


@pytest.mark.module("ours")
def test_a_drive_goes_by_the_proxy_of_the_domain_or_of_the_command(
    httpd: Httpd, pebble: Pebble, proxy: Proxy, sandbox: Sandbox
) -> None:
    httpd.config.add("MDRenewMode manual")
    httpd.config.md_set(NAME, f"MDHttpProxy {proxy.https}", f"MDHttpProxyCACertificateFile {proxy.ca.cert_file}")
    httpd.config.http(NAME).https(NAME)
    httpd.start()
    cli = A2md(sandbox, pebble)
    assert cli("update", NAME, "contacts", "admin@example.org").code == 0
    done = cli("drive", "-f", NAME)
    assert done.code == 0, done
    tunnels = proxy.tunnels(pebble)
    assert tunnels > 0
    done = cli.with_options("-p", "http://localhost:1")("drive", "-f", NAME)
    assert done.code == 1
    assert "Connection refused" in done.err
    assert (proxy.tunnels(pebble), pebble.new_orders) == (tunnels, 1)
