"""The md-status handler: its JSON, compared with openssl's reading of what is served and with the C module's."""

from __future__ import annotations

import json
import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import jsonschema
import pytest

from gallery import Gallery, awkward, every_state
from harness.httpd import Httpd
from harness.module import REPO
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.world import World

VERSION = "3.0.0"


def test_listing_and_single_view_have_the_members_of_the_c_module() -> None:
    def case(world: World) -> Any:
        # What a CA does by chance would be a difference.
        httpd = world.httpd(world.pebble(nonce_reject=0, authz_reuse=0))
        # Ours shows what the CA suggests, when it has asked.
        httpd.config.add("MDRenewViaARI off")
        httpd.config.managed("b.example.org", "www.b.example.org").md_set("a.example.org", "MDRenewMode manual").https("a.example.org")
        httpd.config.md("unused.example.org")
        httpd.log.expects("AH10045")
        httpd.config.https("c.example.org", "MDomain c.example.org").http("c.example.org")
        httpd.start().wait_staged("b.example.org", "c.example.org")
        staged = httpd.md_status("b.example.org")
        staged["renewal"].pop("log")
        httpd.graceful()
        found: dict[str, Any] = {"staged": staged, "listing": httpd.md_status(), "b": httpd.md_status("b.example.org")}
        found["listing"].pop("version")
        # By a name that is not the domain's own, in another case.
        found["alias"] = httpd.md_status("WWW.b.example.org")["name"]
        found["a"] = httpd.md_status("a.example.org")
        head, post = (httpd.admin("/md-status/", method=method) for method in ("HEAD", "POST"))
        found["answers"] = [head.status, head.headers["Content-Type"], len(head.body), post.status]
        return found

    result = Oracle().both(
        case,
        {
            "staged.renewal.last.detail": "ours keeps the closing sentence",
            "*.ca.url": "ours says from the start which of its CAs a domain uses",
        },
    )
    assert [md["name"] for md in result["listing"]["managed-domains"]] == ["a.example.org", "b.example.org", "c.example.org", "unused.example.org"]
    assert result["alias"] == "b.example.org"
    assert result["answers"] == [200, "application/json", 0, 501]
    assert list(result["b"]) == [
        *("name", "domains", "contacts", "transitive", "ca", "state", "renew-mode", "renew-window", "warn-window"),
        *("must-staple", "proto", "stapling", "profile-mandatory", "ari-renewals", "cert", "renew-at", "watched"),
    ]
    assert list(result["b"]["cert"]["rsa"]) == [
        *("issuer-name", "valid", "serial", "sha256-fingerprint", "ari-cert-id"),
    ]


def test_values_are_those_of_the_served_certificate(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.managed("a.example.org")
    httpd.start().obtain("a.example.org")
    leaf = httpd.served("a.example.org", ca=pebble.root).leaf
    status = httpd.md_status("a.example.org")
    cert = status["cert"]["rsa"]
    assert cert["serial"] == leaf.serial
    assert cert["sha256-fingerprint"] == leaf.sha256
    assert cert["issuer-name"] == f"/CN={leaf.issuer}"
    assert (_time(cert["valid"]["from"]), _time(cert["valid"]["until"])) == (leaf.not_before, leaf.not_after)
    assert status["cert"]["valid"] == cert["valid"]
    assert leaf.not_before < _time(status["renew-at"]) < leaf.not_after
    assert (status["state"], status["watched"]) == (2, True)
    assert "renew" not in status
    assert httpd.md_status()["version"] == VERSION


def _time(text: str) -> datetime:
    return parsedate_to_datetime(text)


def test_a_renewal_is_told_with_its_log_in_the_single_view_only(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.managed("a.example.org")
    httpd.log.expects("processing a.example.org")
    pebble.kill()
    httpd.start().wait_log("AH10057")
    single = httpd.md_status("a.example.org")
    assert (single["renew"], single["renewal"]["finished"], single["cert"]) == (True, False, {})
    assert single["state"] == 1
    assert single["state-descr"] == "certificate(rsa) is missing"
    assert single["renewal"]["log"]["entries"]

    pebble.start()
    httpd.wait_staged("a.example.org")
    single, listed = httpd.md_status("a.example.org"), httpd.md_status()["managed-domains"][0]
    assert [entry["type"] for entry in single["renewal"]["log"]["entries"]][-2:] == ["starting", "message-renewing"]
    assert "log" not in listed["renewal"]
    single["renewal"].pop("log")
    # An incomplete domain is due "now".
    single.pop("renew-at"), listed.pop("renew-at")
    assert single == listed
    staged = single["renewal"]["cert"]["rsa"]
    assert (single["renewal"]["errors"], single["renewal"]["last"]["status"]) == (0, 0)
    httpd.graceful()
    assert httpd.served("a.example.org").leaf.serial == staged["serial"]


def test_an_unknown_name_is_404_and_other_methods_are_501(lone_httpd: Httpd) -> None:
    httpd = lone_httpd
    httpd.config.add("MDRenewMode manual", "<MDomain *.a.example.org>", "</MDomain>").http("x.a.example.org")
    httpd.start()
    unknown = httpd.admin("/md-status/unknown.example.org")
    assert (unknown.status, unknown.headers["Content-Type"]) == (404, "application/json")
    assert unknown.json() == {"error": "there is no managed domain 'unknown.example.org'"}
    assert httpd.md_status("any.a.example.org")["name"] == "*.a.example.org"
    assert httpd.md_status("*.a.example.org")["name"] == "*.a.example.org"
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert httpd.admin("/md-status/", method=method).status == 501, method
    head, get = httpd.admin("/md-status/", method="HEAD"), httpd.admin("/md-status/")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(get.body)))
    assert get.text.startswith('{\n  "version": "')
    assert not get.text.endswith("\n")


def test_without_domains_there_is_a_version_only(lone_httpd: Httpd) -> None:
    assert lone_httpd.start().md_status() == {"version": VERSION}
    assert not lone_httpd.sandbox.store.exists()


SCHEMA = json.loads((REPO / "docs/md-status.schema.json").read_text())


def _complaints(document: Any, part: str = "") -> list[str]:
    """What the schema, or one of its definitions, says against a document."""
    schema = SCHEMA | {"oneOf": [], "$ref": f"#/$defs/{part}"} if part else SCHEMA
    schema = {name: value for name, value in schema.items() if value != []}
    found = jsonschema.Draft202012Validator(schema).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in found]


@pytest.mark.module("ours")
def test_documents_of_every_state_are_as_the_schema_says(world: World) -> None:
    gallery = awkward(every_state(Gallery(world)))
    gallery.httpd.log.expects("AH10173")
    httpd = gallery.open()
    listed = httpd.md_status()
    assert len(listed["managed-domains"]) > 10
    assert _complaints(listed, "listing") == []
    for md in listed["managed-domains"]:
        assert _complaints(httpd.md_status(md["name"]), "domain") == []


@pytest.mark.module("ours")
@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
def test_documents_of_a_renewal_are_as_the_schema_says(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.md_set("a.example.org", "MDActivation live", "MDRequireHttps temporary", "MDExternalAccountBinding none")
    httpd.config.http("a.example.org").https("a.example.org").managed("b.example.org").managed("c.example.org")
    httpd.config.md_set("d.example.org", "MDCAChallenges dns-persist-01").https("d.example.org")
    httpd.log.expects("AH10056", "MD0044", "CA considers answer", optional=True)
    httpd.start().wait_staged("b.example.org")
    httpd.wait(lambda: "live" in httpd.md_status("a.example.org"), what="a live certificate")
    httpd.wait(lambda: httpd.md_status("d.example.org").get("renewal", {}).get("errors"), what="a failure")
    for name in "abcd":
        assert _complaints(httpd.md_status(f"{name}.example.org"), "domain") == []
    assert _complaints(httpd.md_status(), "listing") == []
    assert _complaints(httpd.admin("/md-status/unknown.example.org").json(), "error") == []
    status = httpd.get("http://b.example.org/.httpd/certificate-status").json()
    assert _complaints(status, "certificate-status") == []
    assert "renewal" in status


def test_the_page_describes_each_member_of_the_schema() -> None:
    page = (REPO / "docs/md-status.md").read_text()

    def members(schema: Any) -> set[str]:
        inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []
        own = set(schema["properties"]) if isinstance(schema, dict) and isinstance(schema.get("properties"), dict) else set()
        return own.union(*map(members, inner))

    described = set(re.findall(r"`([\w/-]+)`", page))
    assert members(SCHEMA) - described == set()
    listed = {name for row in re.findall(r"^\| (`.*?) \|", page, re.M) for name in re.findall(r"`([^`]+)`", row)}
    assert listed - members(SCHEMA) == set()
