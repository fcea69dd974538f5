"""The command line: options, exit codes, domains in the store, and the forms of its output."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.a2md import A2md, Done, a2md, begin
from harness.sandbox import Sandbox

CA = "https://localhost:14000/dir"
REFUSED = "[22(Invalid argument)]"


@pytest.fixture
def cli(sandbox: Sandbox) -> A2md:
    """a2md on the store of the sandbox, which is not made yet."""
    return A2md(sandbox)


def failed(done: Done, code: int, *words: str) -> None:
    assert (done.code, done.out) == (code, ""), done
    for word in words:
        assert word in done.err


def failure(done: Done) -> tuple[int, str]:
    """Code and description in the document of a failed command, which has a problem and its detail, too."""
    document = done.document
    assert set(document) == {"output", "status", "description", "problem", "detail"} and document["detail"], done
    return document["status"], document["description"]


# Options and usage


@pytest.mark.parametrize("line", ["-h", "--help", "help", "-h list", "drive -h", "help drive", "store -h"])
def test_help_is_printed(line: str) -> None:
    done = a2md(*line.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: a2md" in done.stdout
    assert max(len(row) for row in done.stdout.splitlines()) <= 100
    narrow = a2md(*line.split(), COLUMNS="60").stdout
    assert len(narrow.splitlines()) > len(done.stdout.splitlines())


def test_options_stand_where_people_write_them(cli: A2md, sandbox: Sandbox) -> None:
    cli("add", "a.example.org")
    document = cli.json("list", "a.example.org").out
    for words in (["list", "-j", "a.example.org"], ["list", "a.example.org", "--json"]):
        assert a2md(*words, "-d", sandbox.store).stdout == document


def test_words_that_are_nearly_right_lead_to_those_that_are(cli: A2md) -> None:
    cli("add", "a.example.org")
    assert cli("stauts").err == "unknown cmd: stauts; did you mean status?\n"
    assert cli("status", "a.exmple.org").err.endswith("; did you mean a.example.org?\n")
    assert "a similar argument exists: '--force'" in cli("drive", "--forse").err


@pytest.mark.parametrize("line", ["-x", "--nothing", "-d", "add -x"])
def test_wrong_options_show_the_usage(line: str) -> None:
    done = a2md(*line.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: a2md" in done.stderr or "a value is required for '--dir <dir>'" in done.stderr


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "a command is missing"),
        ("store", "a command is missing"),
        ("acme", "a command is missing"),
        ("update", "missing argument: name of a managed domain"),
        ("update a.org ca", "missing argument: URL of the ACME server"),
        ("store update", "missing argument: name of a managed domain"),
        ("store remove", "missing argument: name of a managed domain"),
        ("acme delreg", "missing argument: id of an account"),
        ("import certbot", "one argument expected: the directory of certbot"),
    ],
)
def test_missing_words_are_complained_about_with_the_usage_and_no_document(cli: A2md, line: str, complaint: str) -> None:
    cli("add", "a.org")
    done = cli.json(*line.split())
    failed(done, 1, complaint, "Usage: a2md")
    assert done.err.startswith(complaint)


@pytest.mark.parametrize("command", ["frob", "acme authz", "store frob x"])
def test_unknown_commands_are_named(cli: A2md, command: str) -> None:
    name = command.removesuffix(" x")
    done = cli(*command.split())
    assert (done.code, done.out, done.err) == (1, "", f"unknown cmd: {name}\n")
    done = cli.json(*command.split())
    assert (done.code, failure(done)) == (1, (22, "Invalid argument"))


@pytest.mark.parametrize("command", ["list", "update", "drive", "status", "store list", "acme rollover"])
def test_a_command_needs_a_store(cli: A2md, sandbox: Sandbox, command: str) -> None:
    done = cli(*command.split(), "x.org")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"no store in {sandbox.store}; ")
    assert not sandbox.store.exists()


def test_the_environment_names_the_store(cli: A2md, sandbox: Sandbox) -> None:
    cli("store", "add", "a.example.org")
    done = a2md("list", A2MD_DIR=str(sandbox.store))
    assert done.returncode == 0 and "a.example.org" in done.stdout
    assert done.stderr == f"the store is {sandbox.store} (A2MD_DIR)\n"


def test_a_person_at_a_terminal_gets_sentences(cli: A2md) -> None:
    cli("add", "a.example.org")
    at_terminal = lambda *words: cli.on_a_terminal(*words).err.replace("\r", "")  # noqa: E731
    assert at_terminal("status", "x.org") == "Error: there is no managed domain x.org; 'a2md list' shows all\n"
    assert at_terminal("add", "nodot") == "Error: not a domain name: nodot\n"
    assert "[2(No such file or directory)] managed domain not found: x.org" in at_terminal("-v", "status", "x.org")
    # The option is named, not the directive that would do the same.
    wrong = cli.with_options("-a", "https://localhost:1/dir", "-p", "http://localhost:1/", "-t", "accepted")
    said = wrong.on_a_terminal("acme", "newreg").err.replace("\r", "")
    assert said.splitlines()[-1].startswith("Error: failed to register new account: "), said
    assert "MDHttpProxy" not in said and "MDCertificateAuthority" not in said and "-p" in said, said


def test_a_command_that_asks_a_ca_needs_its_url(cli: A2md) -> None:
    failed(cli("acme", "newreg", "a@x.org"), 1, "need ACME server url (-a) for command: acme newreg")


def test_the_store_is_made_where_it_is_missing(cli: A2md, sandbox: Sandbox) -> None:
    begin(cli)
    assert cli.json("list").document == {"output": [], "status": 0}
    tree = {path: str(access) for path, access in sandbox.tree().items()}
    assert tree.items() >= {".": "0755 root", "md_store.json": "0600 root"}.items()


def test_the_last_of_repeated_options_counts(cli: A2md, sandbox: Sandbox) -> None:
    begin(cli)
    done = a2md("-d", "/nonexistent/x", "--dir", sandbox.store, "-d", sandbox.store, "-jj", "list")
    assert done.returncode == 0
    assert done.stdout == '{\n  "output": [],\n  "status": 0\n}\n'


def test_a_store_that_cannot_be_used_fails_the_command(cli: A2md, sandbox: Sandbox) -> None:
    begin(cli)
    sandbox.write("md/md_store.json", "{}")
    done = cli.json("list")
    assert (done.code, done.document["status"]) == (1, 22)
    assert "md_store.json is damaged" in done.err


def test_levels_go_up_and_down(cli: A2md, sandbox: Sandbox) -> None:
    begin(cli)
    sandbox.write("md/domains/a.org/md.json", "{")
    damaged = re.compile(r"^\[\S+\.rs:\d+ err\]\[ok\] failed to load JSON file domains/a.org/md.json", re.M)
    assert damaged.search(cli("list").err)
    assert damaged.search(cli.with_options("-qqq")("list").err)
    assert cli.with_options("-qqqq")("list").err == ""
    assert damaged.search(cli.with_options("-qqqq", "-vvvvvvvvvvvv")("list").err)


# Domains


def test_a_domain_is_added_with_its_defaults(cli: A2md, sandbox: Sandbox) -> None:
    done = cli.with_options("-a", CA).json("add", "Test.Example.org", "www.example.org", "WWW.example.ORG", "*.x.example.org")
    expected: dict[str, Any] = {
        "name": "test.example.org",
        "domains": ["test.example.org", "www.example.org", "*.x.example.org"],
        "contacts": [],
        "transitive": 0,
        "ca": {"proto": "ACME", "urls": [CA]},
        "state": 1,
        "state-descr": "certificate(rsa) is missing",
        "renew-mode": -1,
        "renew-window": "33%",
        "warn-window": "10%",
        "must-staple": False,
        "proto": {"acme-tls/1": []},
        "stapling": False,
        "profile-mandatory": False,
        "ari-renewals": True,
    }
    assert done.md == expected | {"renew": True}
    assert done.err == ""
    stored = sandbox.md_json("test.example.org")
    assert stored == expected
    assert str(sandbox.tree()["domains/test.example.org/md.json"]) == "0600 root"
    assert cli("list").out == "md: test.example.org [test.example.org, www.example.org, *.x.example.org]\n"


@pytest.mark.parametrize("name", ["localhost", "a..org", ".a.org", "a b.org", "ä.org", "a_b.org", "*.org", "a.*.org", "a/b.org", "-x.org/"])
def test_wrong_names_are_refused(cli: A2md, sandbox: Sandbox, name: str) -> None:
    failed(cli("add", "--", name), 1, REFUSED, "not a domain name")
    failed(cli("add", "--", "good.org", name), 1, REFUSED, "not a domain name")
    assert not sandbox.domains().exists()


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("nohost", "missing uri scheme"),
        ("http://", "missing host"),
        ("http://a b.org/", "whitespace in uri"),
        ("http://a_b.org", "wrong host"),
        ("https://a.org:0/", "wrong port"),
        ("https://a.org:65536/", "wrong port"),
        ("https://a.org:x/", "wrong port"),
    ],
)
def test_wrong_urls_are_refused(cli: A2md, sandbox: Sandbox, url: str, complaint: str) -> None:
    failed(cli.with_options("-a", url)("add", "a.org"), 1, REFUSED, complaint)
    assert not sandbox.domains().exists()
    cli("add", "a.org")
    before = sandbox.md_json("a.org")
    failed(cli.with_options("-a", url)("update", "a.org"), 1, REFUSED, complaint)
    failed(cli("update", "a.org", "ca", url), 1, REFUSED, complaint)
    assert sandbox.md_json("a.org") == before


def test_add_without_names_is_refused(cli: A2md) -> None:
    assert cli.json("add").document["status"] == 22


def test_a_domain_is_added_once(cli: A2md) -> None:
    cli("add", "a.org")
    done = cli.json("add", "a.org", "b.org")
    assert (done.code, failure(done)) == (1, (17, "File exists"))
    assert "[17(File exists)] managed domain exists already: a.org" in done.err


@pytest.mark.parametrize("names", [["b.org", "www.a.org"], ["y.w.org"], ["*.a.org"], ["c.org", "w.org", "*.w.org"]])
def test_domains_must_not_share_names(cli: A2md, sandbox: Sandbox, names: list[str]) -> None:
    cli("add", "a.org", "www.a.org", "*.w.org")
    failed(cli("add", *names), 1, REFUSED, "is also in managed domain a.org")
    assert [path.name for path in sandbox.domains().iterdir()] == ["a.org"]


def test_list_finds_by_name_of_the_domain_then_by_any_name(cli: A2md) -> None:
    cli("add", "b.org", "www.b.org")
    cli("add", "a.org", "*.a.org")
    assert [md["name"] for md in cli.json("list").output] == ["a.org", "b.org"]
    lines = "md: b.org [b.org, www.b.org]\nmd: a.org [a.org, *.a.org]\n"
    assert cli("list", "www.b.org", "x.a.org").out == lines
    assert cli.json("list", "B.org").md["renew"] is True
    done = cli("list", "b.org", "c.org", "a.org")
    assert (done.code, done.out) == (1, "md: b.org [b.org, www.b.org]\n")
    assert done.err == "managed domain not found: c.org\n"
    failed_list = cli.json("list", "c.org").document
    assert (failed_list["status"], failed_list["description"], failed_list["problem"]) == (2, "No such file or directory", "not-found")


UPDATES = [
    (["domains", "B.org", "a.org", "b.org"], lambda md: md["domains"] == ["b.org", "a.org"] and md["name"] == "a.org"),
    (["ca", "https://other.org:65535/dir"], lambda md: md["ca"]["urls"] == ["https://other.org:65535/dir"]),
    (["ca", "https://other.org/dir"], lambda md: md["ca"] == {"proto": "ACME", "urls": ["https://other.org/dir"]}),
    (["ca", CA, "whatever"], lambda md: md["ca"] == {"proto": "whatever", "urls": [CA]}),
    (["account", "ACME-x-0000", "more"], lambda md: md["ca"]["account"] == "ACME-x-0000"),
    (["account"], lambda md: "account" not in md["ca"]),
    (["contacts", "a@b.org", "mailto:c@d.org"], lambda md: md["contacts"] == ["mailto:a@b.org", "mailto:c@d.org"]),
    (["agreement", "accepted"], lambda md: md["ca"]["agreement"] == "accepted"),
    (["agreement", "https://ca.org/terms"], lambda md: md["ca"]["agreement"] == "https://ca.org/terms"),
    (["agreement"], lambda md: "agreement" not in md["ca"]),
    ([], lambda md: md["ca"] == {"proto": "ACME", "urls": [CA]}),
]


@pytest.mark.parametrize(("aspect", "changed"), UPDATES, ids=[" ".join(aspect) or "none" for aspect, _ in UPDATES])
def test_update_changes_and_prints_the_domain(cli: A2md, sandbox: Sandbox, aspect: list[str], changed: Any) -> None:
    cli.with_options("-a", CA)("add", "a.org")
    md = cli.json("update", "a.org", *aspect).md
    assert changed(md)
    assert sandbox.md_json("a.org") | {"renew": True} == md
    assert cli("update", "a.org").out == f"md: a.org [{', '.join(md['domains'])}]\n"


def test_update_takes_things_away_again(cli: A2md, sandbox: Sandbox) -> None:
    cli("add", "a.org")
    for aspect, value in [("account", "ACME-x-0000"), ("agreement", "accepted")]:
        cli("update", "a.org", aspect, value)
        assert sandbox.md_json("a.org")["ca"][aspect] == value
        cli("update", "a.org", aspect)
        assert aspect not in sandbox.md_json("a.org")["ca"]


@pytest.mark.parametrize(
    ("aspect", "status", "complaint"),
    [
        (["domains"], 22, "at least one domain name is needed"),
        (["domains", "nodot"], 22, "not a domain name"),
        (["domains", "a.org", "www.b.org"], 22, "is also in managed domain b.org"),
        (["contacts"], 22, "at least one contact is needed"),
        (["contacts", "a@b@c"], 22, "more than one '@'"),
        (["contacts", "mailto:a"], 22, "missing '@'"),
        (["contacts", "a..b@c.org"], 22, "wrong local part"),
        (["contacts", ".a@c.org"], 22, "wrong local part"),
        (["contacts", "a.@c.org"], 22, "wrong local part"),
        (["agreement", "yes"], 22, "missing uri scheme"),
        (["frob", "x"], 70023, "unknown setting: frob"),
    ],
)
def test_wrong_updates_change_nothing(cli: A2md, sandbox: Sandbox, aspect: list[str], status: int, complaint: str) -> None:
    cli("add", "a.org")
    cli("add", "b.org", "www.b.org")
    before = sandbox.md_json("a.org")
    done = cli.json("update", "a.org", *aspect)
    assert (done.code, done.document["status"]) == (1, status)
    assert complaint in done.err
    assert sandbox.md_json("a.org") == before


def test_a_failure_is_described_by_what_happened(cli: A2md) -> None:
    cli("add", "a.org")
    says = "unknown setting: frob"
    document = {"output": [], "status": 70023, "description": says, "problem": "refused", "detail": says}
    assert cli.json("update", "a.org", "frob").document == document


def test_the_acme_server_is_changed_by_the_option_too(cli: A2md, sandbox: Sandbox) -> None:
    cli.with_options("-a", CA)("add", "a.org")
    cli.with_options("-a", "https://other.org/dir")("update", "a.org", "contacts", "a@b.org")
    md = sandbox.md_json("a.org")
    assert (md["ca"]["urls"], md["contacts"]) == (["https://other.org/dir"], ["mailto:a@b.org"])


@pytest.mark.parametrize("command", ["update", "store update", "drive", "status"])
def test_an_unknown_domain_is_told(cli: A2md, command: str) -> None:
    begin(cli)
    done = cli.json(*command.split(), "a.org")
    assert (done.code, done.document["status"]) == (1, 2)
    assert re.fullmatch(r"\[\S+ info\]\[2\(No such file or directory\)\] managed domain not found: a.org\n", done.err)


# The store as it is


def test_store_add_does_not_check(cli: A2md, sandbox: Sandbox) -> None:
    cli("add", "a.org", "b.org")
    md = cli.with_options("-a", CA).json("store", "add", "localhost", "b.org").md
    assert (md["state"], md["transitive"], md["renew-mode"]) == (0, -1, -1)
    assert not {"renew", "renew-window", "warn-window", "state-descr"} & set(md)
    assert md == sandbox.md_json("localhost")
    assert cli.json("store", "add", "localhost").document["status"] == 17
    failed(cli("store", "add", "a/b"), 1, REFUSED, "cannot be a domain name")
    assert cli.json("store", "add").document["status"] == 22
    assert cli("store", "list").out == "md: a.org [a.org, b.org]\nmd: localhost [localhost, b.org]\n"
    assert all("renew" not in md for md in cli.json("store", "list").output)


def test_store_remove_takes_the_settings_only(cli: A2md, sandbox: Sandbox) -> None:
    cli("add", "a.org")
    key = sandbox.write("md/domains/a.org/privkey.pem", "a key")
    done = cli("store", "remove", "a.org")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert list(sandbox.domains("a.org").iterdir()) == [key]
    failed(cli("store", "remove", "a.org"), 1, "err][2(No such file or directory)]")
    assert cli.json("store", "remove", "x.org").document["status"] == 2
    assert cli.json("store", "remove", "-f", "a.org", "x.org").document == {"output": [], "status": 0}
    failed(cli("store", "remove", "-f", "../accounts"), 1, REFUSED)


def test_store_update_replaces_names_and_url(cli: A2md, sandbox: Sandbox) -> None:
    cli("store", "add", "a.org")
    before = sandbox.domains("a.org").joinpath("md.json").stat()
    assert cli.json("store", "update", "a.org").md["domains"] == ["a.org"]
    assert sandbox.domains("a.org").joinpath("md.json").stat().st_ino == before.st_ino, "written without need"
    assert cli.json("store", "update", "a.org", "domains", "localhost").md["domains"] == ["localhost"]
    assert cli.with_options("-a", CA).json("store", "update", "a.org").md["ca"]["urls"] == [CA]
    assert sandbox.md_json("a.org")["domains"] == ["localhost"]
    assert cli.json("store", "update", "a.org", "domains").document["status"] == 22
    assert cli.json("store", "update", "a.org", "frob").document["status"] == 70023


def test_external_accounts_are_shown_in_clear(cli: A2md, sandbox: Sandbox) -> None:
    cli("add", "a.org")
    text = sandbox.domains("a.org").joinpath("md.json").read_text()
    sandbox.write("md/domains/a.org/md.json", text[:-2] + ',\n  "eab": {"kid": "k", "hmac": "secret"}\n}')
    assert cli.json("list").md["eab"] == {"kid": "k", "hmac": "secret"}


def test_what_is_no_domain_is_left_alone(cli: A2md, sandbox: Sandbox) -> None:
    cli("add", "a.org")
    sandbox.write("md/domains/README", "no domain")
    sandbox.domains("lost+found").mkdir()
    sandbox.write("md/domains/b.org/md.json", "[]")
    done = cli("list")
    assert (done.code, done.out) == (0, "md: a.org [a.org]\n")
    assert "failed to load JSON file domains/b.org/md.json" in done.err
    assert Path(sandbox.domains("README")).exists()
