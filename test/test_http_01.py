"""Answers to http-01 challenges: which requests are ours, and nothing else reaches a file."""

from __future__ import annotations

import pytest

from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox

PREFIX = "/.well-known/acme-challenge/"
TOKEN = "abcdefghijklmnopqrstuvwxyz-_0123456789ABCDE"
ANSWER = f"{TOKEN}.{'t' * 43}"


def _publish(sandbox: Sandbox, name: str, text: str) -> None:
    sandbox.write(f"md/challenges/{name}/acme-http-01.txt", text)


@pytest.fixture
def server(lone_httpd: Httpd) -> Httpd:
    """Domains that nobody renews, so that the challenge data of the test stays."""
    config = lone_httpd.config.add("MDRenewMode manual")
    config.managed("a.example.org").md("b.example.org").md("empty.example.org").http("b.example.org", aliases=["empty.example.org"])
    config.md_set("alpn.example.org", "MDCAChallenges tls-alpn-01").http("alpn.example.org")
    config.http("unmanaged.example.org")
    return lone_httpd


def _file(sandbox: Sandbox, host: str, token: str) -> None:
    """Puts a file of the host itself at the place of a challenge."""
    sandbox.write(f"docs/{host}{PREFIX}{token}", f"file of {host}")


def test_the_token_asked_for_is_answered_exactly(server: Httpd, sandbox: Sandbox) -> None:
    server.start()
    _publish(sandbox, "a.example.org", ANSWER)
    for url in (f"http://a.example.org{PREFIX}{TOKEN}", f"https://a.example.org{PREFIX}{TOKEN}"):
        answer = server.get(url)
        assert (answer.status, answer.text) == (200, ANSWER)
        assert answer.headers["Content-Length"] == str(len(ANSWER))
        assert "Transfer-Encoding" not in answer.headers
        assert (answer.headers["Content-Type"], answer.headers["X-Content-Type-Options"]) == ("application/octet-stream", "nosniff")
    head = server.get(f"http://A.example.org:80{PREFIX}{TOKEN}", method="HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(ANSWER)))
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert server.get(f"http://a.example.org{PREFIX}{TOKEN}", method=method).status == 501, method
    # The name of the request counts, not the virtual host.
    _publish(sandbox, "empty.example.org", f"{ANSWER}\n")
    assert server.get(f"http://empty.example.org{PREFIX}{TOKEN}").text == ANSWER
    # Nothing but the key authorization for the token is an answer.
    _publish(sandbox, "empty.example.org", "<script>alert(1)</script>")
    assert server.get(f"http://empty.example.org{PREFIX}{TOKEN}").status == 404


def test_requests_that_are_not_ours_are_passed_on(server: Httpd, sandbox: Sandbox) -> None:
    server.start()
    for host in ("a.example.org", "b.example.org", "alpn.example.org", "unmanaged.example.org"):
        _file(sandbox, host, "other")
        _file(sandbox, host, TOKEN)
    for host in ("a.example.org", "alpn.example.org"):
        _publish(sandbox, host, ANSWER)
    # Another token, nothing published, a domain that may not use http-01, a host that is not managed.
    passed = [("a", "other"), ("b", TOKEN), ("b", "other"), ("alpn", TOKEN), ("unmanaged", TOKEN)]
    for name, token in passed:
        answer = server.get(f"http://{name}.example.org{PREFIX}{token}")
        assert (answer.status, answer.text) == (200, f"file of {name}.example.org"), (name, token)
    assert server.get(f"http://b.example.org{PREFIX}unknown").status == 404
    assert server.get(f"http://a.example.org{PREFIX}").status in (403, 404)
    assert server.get(f"http://a.example.org{PREFIX}{TOKEN}/more").status == 404
    # A method that is not ours to refuse.
    assert server.get(f"http://a.example.org{PREFIX}other", method="POST").status == 200


def test_a_server_without_domains_answers_what_is_put_into_the_store(lone_httpd: Httpd, sandbox: Sandbox) -> None:
    lone_httpd.config.http("x.example.org", "Redirect permanent /old /new")
    lone_httpd.start()
    hosts = ("x.example.org", "unknown.example.org")
    _file(sandbox, "x.example.org", TOKEN)
    for host in hosts:
        assert lone_httpd.get(f"http://{host}{PREFIX}unknown").status == 404
    assert lone_httpd.get(f"http://x.example.org{PREFIX}{TOKEN}").text == "file of x.example.org"
    # The directory comes while the server runs.
    for host in hosts:
        _publish(sandbox, host, ANSWER)
        answer = lone_httpd.get(f"http://{host}{PREFIX}{TOKEN}")
        assert (answer.status, answer.text) == (200, ANSWER), host
        head = lone_httpd.get(f"http://{host}{PREFIX}{TOKEN}", method="HEAD")
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(ANSWER)))
        assert lone_httpd.get(f"http://{host}{PREFIX}{TOKEN}", method="POST").status == 501
    # Without any host, the main server is asked by its address.
    _publish(sandbox, "127.0.0.1", ANSWER)
    assert lone_httpd.get(f"http://127.0.0.1{PREFIX}{TOKEN}").text == ANSWER
    sandbox.challenges("x.example.org").joinpath("acme-http-01.txt").unlink()
    assert lone_httpd.get(f"http://x.example.org{PREFIX}{TOKEN}").text == "file of x.example.org"


def test_data_that_cannot_be_read_is_an_error(server: Httpd, sandbox: Sandbox) -> None:
    server.start()
    sandbox.write("md/challenges/a.example.org/acme-http-01.txt/file", "a directory in its place")
    server.log.expects("AH10081")
    assert server.get(f"http://a.example.org{PREFIX}{TOKEN}").status == 500


BLOCKERS = {
    "redirect": ["Redirect permanent / https://a.example.org/"],
    "rewrite": ["RewriteEngine on", "RewriteRule ^ https://a.example.org/ [R=301,L]"],
    "forbidden": ["RewriteEngine on", "RewriteRule ^ - [F]"],
    "denied": ["<Location />", "  Require all denied", "</Location>"],
    "proxy": ["ProxyPass / http://127.0.0.1:1/"],
    "alias": ["AliasMatch .* /nowhere"],
}


def test_a_certificate_is_obtained_behind_redirects_rewrites_access_rules_and_proxies(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.load("proxy", "proxy_http")
    for name, lines in BLOCKERS.items():
        httpd.config.md(f"{name}.example.org").http(f"{name}.example.org", *lines).https(f"{name}.example.org")
    httpd.start()
    for name in BLOCKERS:
        assert httpd.get(f"http://{name}.example.org/").status != 200
    httpd.obtain(*(f"{name}.example.org" for name in BLOCKERS))
    for name in BLOCKERS:
        assert httpd.served(f"{name}.example.org", ca=pebble.root).verified, name


HOSTS = [b"..", b"../domains/a.example.org", b"a.example.org/..", b"%2e%2e", b".", b"", b"*", b"a.example.org:x", b"[::1", b"[::1]",
         b"x" * 6000, b"\xff\xfe", b"a\x00b", b"a..example.org", b"a.example.org.", b"/etc/passwd", b"a\\..\\b"]  # fmt: skip
PATHS = [b"..", b"../x", b"%2e%2e", b"%2e%2e%2fx", b"..%2f..%2fdomains%2fa.example.org%2fprivkey.pem", b"%00", b"x%00y", b"x" * 7000,
         b"?x", b"#x", b"%", b"%zz", b"\xff", b"//", b"./.", b"x;y", b"acme-http-01.txt"]  # fmt: skip


def test_crafted_hosts_and_paths_reach_no_file_and_crash_nothing(server: Httpd, sandbox: Sandbox) -> None:
    # A word that no answer may contain, wherever a path could lead to.
    secret = "file that nobody may read"
    # What httpd itself says of some.
    server.log.expects("AH00127", "AH10244", optional=True)
    server.start()
    for place in ("acme-http-01.txt", "md/acme-http-01.txt", "md/challenges/acme-http-01.txt", "md/domains/a.example.org/acme-http-01.txt"):
        sandbox.write(place, secret)
    _publish(sandbox, "a.example.org", ANSWER)
    children = server.children()
    target = PREFIX.encode()

    def ask(line: bytes, host: bytes | None) -> bytes:
        header = b"" if host is None else b"Host: " + host + b"\r\n"
        return server.send(line + b"\r\n" + header + b"Connection: close\r\n\r\n")

    for host in HOSTS:
        assert secret.encode() not in ask(b"GET " + target + TOKEN.encode() + b" HTTP/1.1", host), host
    for path in PATHS:
        assert secret.encode() not in ask(b"GET " + target + path + b" HTTP/1.1", b"a.example.org"), path
    lines = [b"GET http://../" + target, b"GET http://a.example.org/..", b"GET *", b"GET " + target[1:], b"GET \x00" + target, b"GET"]
    for line in lines:
        assert secret.encode() not in ask(line + TOKEN.encode() + b" HTTP/1.1", b"a.example.org"), line

    # An absolute URI names the host; without any there is nothing to look up.
    absolute = ask(b"GET http://a.example.org" + target + TOKEN.encode() + b" HTTP/1.1", b"unmanaged.example.org")
    assert absolute.endswith(ANSWER.encode())
    assert b" 404 " in ask(b"GET " + target + TOKEN.encode() + b" HTTP/1.0", None)
    assert b" 400 " in ask(b"GET " + target + TOKEN.encode() + b" HTTP/1.1", None)
    assert ask(b"GET " + target + TOKEN.encode() + b" HTTP/1.0", b"a.example.org").endswith(ANSWER.encode())

    assert server.get(f"http://a.example.org{PREFIX}{TOKEN}").text == ANSWER
    assert [proc.pid for proc in server.children()] == [proc.pid for proc in children]
