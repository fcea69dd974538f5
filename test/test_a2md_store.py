"""The command line for people: the table of domains, what a next start would do, certificates of other programs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.a2md import A2md, begin
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.pki import Leaf, Pki
from harness.sandbox import Sandbox

NAME = "a.example.org"


@pytest.fixture
def cli(sandbox: Sandbox) -> A2md:
    """a2md on the store of the sandbox."""
    return A2md(sandbox)


# Status


def test_status_is_a_table(cli: A2md, httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME).managed("b.example.org")
    httpd.start().wait_staged(NAME, "b.example.org")
    lines = cli("status").out.splitlines()
    assert re.fullmatch(r"DOMAIN +STATE +VALID UNTIL \(UTC\) +DAYS +NEXT \(UTC\)", lines[0])
    assert re.fullmatch(rf"{NAME} +waiting for a restart +- +- +new certificate waits for a restart", lines[1])
    assert len(lines) == 3
    httpd.graceful()
    rows = cli("status").out.splitlines()[1:]
    pattern = r" +good +\d{4}-\d\d-\d\d \d\d:\d\d +\d+ +renewal \d{4}-\d\d-\d\d \d\d:\d\d"
    assert [bool(re.fullmatch(name + pattern, row)) for name, row in zip((NAME, "b.example.org"), rows, strict=True)] == [True] * 2
    assert len(cli("status", "b.example.org").out.splitlines()) == 2

    def shown(status: dict[str, Any]) -> Any:
        return status["cert"], status["renew-at"]

    # The CA may suggest another moment between the two looks.
    httpd.wait(lambda: shown(cli.json("status", NAME).md) == shown(httpd.md_status(NAME)), what="the status of the server")


def test_states_are_coloured_on_a_terminal_only(cli: A2md) -> None:
    cli("add", NAME)
    assert "\x1b" not in cli("status").out
    shown = cli.on_a_terminal("status", out=True)
    assert f"{NAME}  \x1b[31mno certificate yet\x1b[0m  " in shown.out
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in cli.with_env(**env).on_a_terminal("status", out=True).out


def test_status_tells_what_failed_and_why(cli: A2md, httpd: Httpd, pebble: Pebble) -> None:
    pebble.kill()
    httpd.log.expects("AH10056")
    httpd.config.managed(NAME)
    httpd.start().wait_log("AH10057")
    httpd.stop()
    out = cli("status").out
    assert re.search(r"^    failed .*, last \S+ \S+: Unsuccessful in contacting ACME server at ", out, re.M), out
    assert cli.json("status").md["renewal"]["errors"] >= 1


def test_status_of_an_empty_store_is_an_empty_table(cli: A2md) -> None:
    begin(cli)
    assert len(cli("status").out.splitlines()) == 1
    assert cli.json("status").output == []


# Check


def test_check_tells_what_the_next_start_then_does(cli: A2md, httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME)
    httpd.start().wait_staged(NAME)
    httpd.stop()
    before = {path: path.stat().st_mtime_ns for path in sandbox.store.rglob("*")}
    done = cli("check")
    assert done.code == 0
    assert "renew: " not in done.out, done.out
    assert re.search(rf"^activate: {NAME}: the staged certificates, valid until .* GMT$", done.out, re.M)
    assert re.search(rf"^activate: staging/{NAME}: the account https\S+ moves to accounts/$", done.out, re.M)
    assert {path: path.stat().st_mtime_ns for path in sandbox.store.rglob("*")} == before, "check changed the store"
    httpd.start()
    assert cli("check").out == "nothing to do: the next start changes nothing\n"
    assert cli.json("check").document == {"output": [], "status": 0}
    assert httpd.md_status(NAME)["state"] == 2


def test_check_tells_of_damage_and_leftovers(cli: A2md, httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME)
    httpd.start().wait_staged(NAME)
    httpd.stop()
    sandbox.write(f"md/staging/{NAME}/privkey.pem", "no key")
    sandbox.write("md/challenges/x.example.org/acme-http-01.txt", "x")
    sandbox.accounts().chmod(0o700)
    sandbox.write("md/domains/b.example.org/md.json", "[")
    found = {(each["action"], each["item"]) for each in cli.json("check").output}
    assert {
        ("repair", "accounts"),
        ("repair", "b.example.org"),
        ("discard", NAME),
        ("discard", "challenges/x.example.org"),
        ("renew", NAME),
    } <= found
    httpd.log.expects("AH10069", "not a usable private key")
    httpd.start()
    assert not sandbox.challenges("x.example.org").exists()


def test_check_makes_and_migrates_nothing(cli: A2md, sandbox: Sandbox) -> None:
    done = cli.json("check")
    assert (done.code, done.document["status"]) == (1, 2)
    assert not sandbox.store.exists()
    begin(cli)
    file = sandbox.store / "md_store.json"
    old = json.dumps(json.loads(file.read_text()) | {"store": {"version": 2.0}})
    file.write_text(old)
    assert cli("check").out == "repair: md_store.json: the store is migrated to the current layout\n"
    assert file.read_text() == old
    file.write_text("{}")
    assert "md_store.json is damaged" in cli("check").err


# Import


def lineage(sandbox: Sandbox, name: str, leaf: Leaf) -> Path:
    """Makes certbot's files for a certificate: links to the newest files of its archive."""
    archive = sandbox.root / "letsencrypt/archive" / name
    live = sandbox.root / "letsencrypt/live" / name
    for folder in (archive, live):
        folder.mkdir(parents=True)
    for file, source in (("fullchain", leaf.chain_file), ("privkey", leaf.key_file)):
        (archive / f"{file}1.pem").write_text(source.read_text())
        (live / f"{file}.pem").symlink_to(f"../../archive/{name}/{file}1.pem")
    sandbox.write("letsencrypt/live/README", "what certbot writes there")
    return sandbox.root / "letsencrypt"


@pytest.mark.parametrize("key", ["rsa2048", "rsa3072", "p256", "p384"])
def test_a_certificate_of_certbot_is_served_at_once(
    cli: A2md, lone_httpd: Httpd, sandbox: Sandbox, pki: Pki, key: str
) -> None:
    root = pki.ca()
    leaf = root.intermediate("Between").leaf("www.example.org", NAME, key=key)
    folder = lineage(sandbox, NAME, leaf)
    before = {path: path.read_bytes() for path in folder.rglob("*.pem")}
    done = cli("import", "certbot", folder)
    assert (done.code, done.out) == (0, f"md: {NAME} [{NAME}, www.example.org]\n")
    needed, *lines = done.err.splitlines()
    assert needed == "The configuration of the server needs these lines, and a restart:"
    assert {path: path.read_bytes() for path in folder.rglob("*.pem")} == before
    assert sandbox.md_json(NAME)["state"] == 2
    tree = sandbox.tree()
    assert {str(tree[path]) for path in tree if path.startswith(f"domains/{NAME}/")} == {"0600 root"}
    assert cli.json("list").md["renew"] is False

    again = cli("import", "certbot", folder)
    assert (again.code, again.out) == (0, "") and again.err.startswith(f"{NAME}: is there already, valid until "), again
    assert again.err.splitlines()[1:] == [needed, *lines]

    lone_httpd.config.add(*lines, "MDRenewMode manual").http(NAME).https(NAME, aliases=["www.example.org"])
    lone_httpd.start()
    served = lone_httpd.served(NAME, ca=root.cert_file)
    assert served.verified
    assert served.leaf == leaf.certificate


def test_an_import_names_the_ca_if_told(cli: A2md, sandbox: Sandbox, pki: Pki) -> None:
    folder = lineage(sandbox, f"{NAME}-0001", pki.ca().leaf(NAME))
    md = cli.with_options("-a", "https://ca.example.org/dir").json("import", "certbot", folder).md
    assert (md["name"], md["ca"]["urls"]) == (NAME, ["https://ca.example.org/dir"])
    assert md["privkey"] == {"type": "EC", "curve": "secp256r1"}


def test_an_import_overwrites_nothing(cli: A2md, sandbox: Sandbox, pki: Pki) -> None:
    ca = pki.ca()
    folder = lineage(sandbox, NAME, ca.leaf(NAME))
    lineage(sandbox, "b.example.org", ca.leaf("b.example.org"))
    cli("add", NAME)
    before = sandbox.md_json(NAME)
    done = cli.json("import", "certbot", folder)
    assert (done.code, done.document["status"]) == (1, 17)
    assert "which is not changed" in done.err
    assert [md["name"] for md in done.document["output"]] == ["b.example.org"]
    assert sandbox.md_json(NAME) == before
    assert not sandbox.domains(NAME).joinpath("privkey.pem").exists()
    again = cli("import", "certbot", folder)
    assert (again.code, again.out) == (1, "")


def test_an_import_refuses_what_does_not_fit(cli: A2md, sandbox: Sandbox, pki: Pki) -> None:
    ca = pki.ca()
    folder = lineage(sandbox, NAME, ca.leaf(NAME))
    key = folder / "live" / NAME / "privkey.pem"
    good = key.read_text()
    for text, complaint in [
        (ca.leaf(NAME).key_file.read_text(), "is not the key of the certificate"),
        ("", "privkey.pem: the private key cannot be read"),
    ]:
        key.write_text(text)
        done = cli("import", "certbot", folder)
        assert (done.code, done.out) == (1, "")
        assert complaint in done.err
    key.write_text(good)
    chain = folder / "live" / NAME / "fullchain.pem"
    chain.write_text("no certificate")
    assert "fullchain.pem: it contains no certificate" in cli("import", "certbot", folder).err
    chain.unlink()
    assert "[2(No such file or directory)]" in cli("import", "certbot", folder).err
    assert not sandbox.domains().exists()
    assert cli.json("import", "certbot", sandbox.root / "nothing").document["status"] == 2
    cli("add", "other.example.org", "www.example.org")
    folder = lineage(sandbox, "c.example.org", ca.leaf("c.example.org", "www.example.org"))
    assert "is also in managed domain other.example.org" in cli("import", "certbot", folder).err
