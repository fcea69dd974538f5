"""MDRequireHttps: who is sent to https, how, and what browsers are told."""

from __future__ import annotations

from typing import Any

import pytest

from harness.httpd import Httpd
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.world import World

NAME = "a.example.org"
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"]
PATHS = ["/", "/x/y?a=b&c=%2f", "/%41%2e?", "/.well-known/x", "/.well-known", "//evil.example.com/"]
HSTS = "Strict-Transport-Security"


def _managed(httpd: Httpd, require: str, *lines: str) -> None:
    httpd.config.md_set(NAME, f"MDRequireHttps {require}", "MDMembers auto")
    httpd.config.http(NAME, *lines, aliases=["www.example.org"]).https(NAME, *lines, aliases=["www.example.org"])


@pytest.mark.parametrize("require", ["off", "temporary", "permanent"])
def test_plain_requests_are_sent_to_https_as_by_the_c_module(require: str) -> None:
    def case(world: World) -> Any:
        pebble = world.pebble()
        httpd = world.httpd(pebble)
        _managed(httpd, require)
        httpd.config.http("other.example.org")
        httpd.log.expects("AH10085", optional=True)
        httpd.start().obtain(NAME)
        answers = {}
        for url in [f"http://{NAME}", "http://www.example.org", "http://other.example.org", "http://www.example.org."]:
            for method, path in [(method, "/x?y") for method in METHODS] + [("GET", path) for path in PATHS]:
                answer = httpd.get(url + path, method=method)
                answers[f"{method} {url}{path}"] = (answer.status, answer.headers["Location"], answer.headers[HSTS])
        for path in ("/", "/absent", "/.well-known/x"):
            answer = httpd.get(f"https://{NAME}{path}", ca=pebble.root)
            # On error pages ours keeps the promise, too.
            promise = answer.headers[HSTS] if answer.status < 400 else None
            answers[f"https {path}"] = (answer.status, promise)
        return answers

    answers = Oracle().both(case)
    redirects = {answer[0] for request, answer in answers.items() if request.startswith(("GET", "POST")) and NAME in request}
    assert {"temporary": {302, 307}, "permanent": {301, 308}, "off": set()}[require] <= redirects


@pytest.mark.module("ours")
def test_redirects_and_503_come_before_what_other_modules_do_and_challenges_before_all(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.load("rewrite", "proxy", "proxy_http")
    blockers = {
        "alias": ["Redirect permanent / http://elsewhere.example.com/"],
        "rewrite": ["RewriteEngine on", "RewriteRule ^ http://elsewhere.example.com/ [R=301,L]"],
        "proxy": ["ProxyPass / http://127.0.0.1:1/"],
        "denied": ['<Location "/">', "Require all denied", "</Location>"],
    }
    names = {f"{name}.example.org": lines for name, lines in blockers.items()}
    for name, lines in names.items():
        httpd.config.md_set(name, "MDRequireHttps temporary").http(name, *lines).https(name, *lines)
    httpd.config.add("MDInitialDelay 1h")
    httpd.start()
    for name in names:
        early = httpd.get(f"https://{name}/x")
        assert (name, early.status, early.headers["Location"]) == (name, 503, None)
    httpd.config.add("MDInitialDelay 0")
    httpd.graceful().obtain(*names)
    for name in names:
        answer = httpd.get(f"http://{name}/x")
        assert (answer.status, answer.headers["Location"]) == (302, f"https://{name}/x")
        assert httpd.served(name, ca=pebble.root).verified
        # What is not a challenge of ours is for the other modules again.
        free = httpd.get(f"http://{name}/.well-known/other")
        assert (free.headers["Location"] or "").startswith("http://elsewhere") or free.status in (403, 503), name
    assert httpd.get("https://denied.example.org/x", ca=pebble.root).status == 403
    # The status is where no domain is.
    assert httpd.md_status("alias.example.org")["require-https"] == "temporary"


@pytest.mark.module("ours")
@pytest.mark.parametrize("own", ["", f'Header always set {HSTS} "max-age=1"', f'Header set {HSTS} "max-age=1"'], ids=["none", "always", "set"])
def test_browsers_are_told_once_on_all_responses(httpd: Httpd, world: World, pebble: Pebble, own: str) -> None:
    httpd.config.load("proxy", "proxy_http", "headers")
    back = f"http://127.0.0.1:{httpd.config.admin_port}/"
    lines = [f"ProxyPass /back/ {back}", "ErrorDocument 404 /index.html", own]
    httpd.config.md_set(NAME, "MDRequireHttps permanent").http(NAME).https(NAME, *lines)
    httpd.start().obtain(NAME)
    for path, status in {"/": 200, "/absent": 404, "/back/md-status/": 200, "/back/absent": 404}.items():
        answer = httpd.get(f"https://{NAME}{path}", ca=pebble.root)
        assert (path, answer.status) == (path, status)
        told = answer.headers.get_all(HSTS) or []
        assert len(told) == 1, path
        assert told == ["max-age=1"] if own else ["max-age=15768000"], path
