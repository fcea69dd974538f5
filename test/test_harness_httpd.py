"""The harness: a server's life and what can be asked of it."""

from __future__ import annotations

import socket

import pytest

from harness.httpd import Died, Httpd
from harness.pki import Pki
from harness.ports import accepts
from harness.sandbox import Access, Sandbox
from harness.tls import HandshakeFailed
from harness.wait import TimedOut


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_httpd_starts_restarts_and_stops_with_every_mpm(lone_httpd: Httpd, mpm: str) -> None:
    httpd = lone_httpd
    httpd.config.http("plain.example.org")
    httpd.start()
    assert httpd.running and len(httpd.children()) == 2
    assert httpd.get("http://plain.example.org/").text == "plain.example.org"
    assert f"ServerMPM: {mpm}" in httpd.admin("/server-status?auto").text
    before = httpd.parent

    for again in (httpd.graceful, httpd.restart):
        old = httpd.children()
        again()
        assert httpd.parent == before
        assert not set(old) & set(httpd.children())
    httpd.stop()
    assert not httpd.running and not accepts(httpd.config.http_port)

    httpd.start()
    assert httpd.parent != before
    httpd.stop_gracefully()
    httpd.start()
    httpd.kill()
    assert not accepts(httpd.config.http_port)


def test_httpd_takes_a_changed_configuration_at_a_restart(lone_httpd: Httpd) -> None:
    httpd = lone_httpd
    httpd.config.http("a.example.org", 'Header set X-Number "1"')
    httpd.start()
    httpd.config.clear().http("a.example.org", 'Header set X-Number "2"')
    assert httpd.get("http://a.example.org/").headers["X-Number"] == "1"
    httpd.graceful()
    assert httpd.get("http://a.example.org/").headers["X-Number"] == "2"


def test_httpd_tells_why_a_configuration_is_refused(lone_httpd: Httpd) -> None:
    httpd = lone_httpd
    assert httpd.configtest().ok
    httpd.config.add("MDRenewMode sometimes")
    checked = httpd.configtest()
    assert not checked.ok and "sometimes" in checked.text
    assert "sometimes" in httpd.fails_to_start()
    assert not httpd.running
    httpd.config.clear()
    httpd.start()


def test_httpd_reports_that_a_restart_ended_it(lone_httpd: Httpd) -> None:
    httpd = lone_httpd.start()
    httpd.config.add("NoSuchDirective")
    httpd.log.expects("AH00526", "NoSuchDirective", optional=True)
    with pytest.raises(Died):
        httpd.graceful()
    httpd.kill()


def test_httpd_graceful_leaves_a_connection_to_drain(lone_httpd: Httpd) -> None:
    httpd = lone_httpd
    httpd.config.http("a.example.org")
    httpd.start()
    with socket.create_connection(("127.0.0.1", httpd.config.http_port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a.example.org\r\n")
        httpd.wait(lambda: "R" in httpd.admin("/server-status?auto").text.partition("Scoreboard: ")[2])
        old = set(httpd.children())
        httpd.graceful(draining=True)
        assert any(proc.alive for proc in old)
        connection.sendall(b"Connection: close\r\n\r\n")
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
    httpd.wait(lambda: not any(proc.alive for proc in old))


def test_httpd_wait_fails_with_the_log(lone_httpd: Httpd) -> None:
    httpd = lone_httpd.start()
    with pytest.raises(TimedOut, match="(?s)the impossible.*resuming normal operations"):
        httpd.wait(lambda: False, limit=0.1, what="the impossible")


def test_httpd_tells_its_memory(lone_httpd: Httpd) -> None:
    memory = lone_httpd.start().memory()
    assert len(memory["parent"]) == 1 and len(memory["children"]) == 2
    assert all(each.rss > each.private > 0 for group in memory.values() for each in group)


def test_httpd_lists_managed_domains(lone_httpd: Httpd) -> None:
    httpd = lone_httpd
    assert "managed-domains" not in httpd.start().md_status()
    httpd.config.md_set("a.example.org", "MDMember www.a.example.org", "MDRenewMode manual")
    httpd.log.expects("AH10045")
    httpd.graceful()
    assert [md["name"] for md in httpd.md_status()["managed-domains"]] == ["a.example.org"]
    assert httpd.md_status("a.example.org")["domains"] == ["a.example.org", "www.a.example.org"]


def test_httpd_shows_what_it_serves(lone_httpd: Httpd, pki: Pki) -> None:
    httpd, ca = lone_httpd, pki.ca()
    issuing = ca.intermediate("Test Intermediate")
    rsa, ecdsa = issuing.leaf("a.example.org", key="rsa2048"), issuing.leaf("a.example.org", key="p256")
    files = [(f"SSLCertificateFile {leaf.chain_file}", f"SSLCertificateKeyFile {leaf.key_file}") for leaf in (rsa, ecdsa)]
    httpd.config.https("a.example.org", *files[0], *files[1])
    httpd.start()

    served = httpd.served("a.example.org", tls="1.3", sigalgs="ECDSA+SHA256", ca=ca.cert_file)
    assert served.chain == [ecdsa.certificate, issuing.certificate]
    assert served.verified and served.protocol == "TLSv1.3" and served.staple is None and served.alpn is None
    served = httpd.served("a.example.org", tls="1.2", sigalgs="RSA+SHA256", ca=ca.cert_file)
    assert served.leaf == rsa.certificate
    assert served.verified and served.protocol == "TLSv1.2"
    assert not httpd.served("a.example.org").verified
    assert not httpd.served("b.example.org", ca=ca.cert_file).verified
    assert httpd.served(None).leaf in (rsa.certificate, ecdsa.certificate)
    with pytest.raises(HandshakeFailed):
        httpd.served("a.example.org", sigalgs="ed25519", tls="1.3")

    page = httpd.get("https://a.example.org/", ca=ca.cert_file)
    assert page.text == "a.example.org" and page.certificate in (rsa.certificate, ecdsa.certificate)


def test_sandbox_is_open_to_the_servers_user_and_names_its_paths(lone_httpd: Httpd, sandbox: Sandbox) -> None:
    assert Access.of(sandbox.root) == Access(0o755, "root")
    assert Access.of(sandbox.writable("out")) == Access(0o755, "www-data")
    lone_httpd.config.md("a.example.org")
    lone_httpd.log.expects("AH10045")
    lone_httpd.start()
    assert {path.name for path in sandbox.store.iterdir()} >= {"md_store.json", "staging", "challenges", "accounts"}
    assert sandbox.tree()["md_store.json"] == Access(0o600, "root")
    assert sandbox.job("none.example.org") == {} and sandbox.md_json("none.example.org") == {}
