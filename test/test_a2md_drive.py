"""`a2md drive` from cron and by hand: what is due in every renew mode, beside any server, and what is served afterwards."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from harness.a2md import A2md, Done
from harness.httpd import Httpd
from harness.module import REPO
from harness.pebble import Pebble
from harness.pki import Pki
from harness.sandbox import Sandbox

pytestmark = pytest.mark.module("ours")

NAME, OTHER = "shop.example.org", "other.example.org"
CONTACT = "MDContactEmail admin@example.org"


@pytest.fixture
def cli(sandbox: Sandbox, pebble: Pebble) -> A2md:
    """a2md as cron runs it: the store has the URL of the CA."""
    return A2md(sandbox, None, ("-C", pebble.trust))


def serials(done: Done) -> list[str]:
    """Serials of the certificates that `drive` reports as served."""
    assert done.code == 0, done
    [line] = [line for line in done.err.splitlines() if "the new certificates are active" in line]
    return re.findall(r" serial ([0-9A-F]+),", line)


def due(cli: A2md) -> bool:
    """Whether the domain is due, by `list` and by `status`, which agree."""
    [listed] = cli.json("list", NAME).output
    row = cli("status", NAME).out.splitlines()[1]
    assert ("renewal now" in row) == listed["renew"], (row, listed)
    return bool(listed["renew"])


# MDRenewMode manual


def test_cron_renews_what_the_server_does_not(httpd: Httpd, cli: A2md, pebble: Pebble) -> None:
    httpd.config.add("MDRenewMode manual", CONTACT).managed(NAME)
    httpd.start()
    assert due(cli)
    first = cli("drive")
    assert "after its next (graceful) restart" in first.err
    httpd.graceful()
    served = httpd.served(NAME, ca=pebble.root)
    assert (served.verified, [served.leaf.serial]) == (True, serials(first))
    assert not due(cli)
    assert "MDRenewMode manual: 'a2md drive' renews it, the server does not" in cli("status").out

    # Each day again, and by its name: nothing is due.
    for words in ([], [NAME]):
        done = cli("drive", *words)
        assert (done.code, done.out) == (0, ""), done
        assert f"{NAME}: not due before " in done.err
    assert pebble.new_orders == 1

    # Its window has opened.
    httpd.config.add("MDRenewWindow 100d")
    httpd.graceful()
    assert due(cli)
    assert serials(cli("drive", NAME)) != serials(first)
    assert pebble.new_orders == 2


def test_cron_asks_the_authority_when_to_renew(httpd: Httpd, cli: A2md, pebble: Pebble) -> None:
    httpd.config.add("MDRenewMode manual", CONTACT).managed(NAME)
    httpd.start()
    first = serials(cli("drive"))
    httpd.graceful()
    now = datetime.now(UTC)
    pebble.set_ari(httpd.served(NAME).leaf, now - timedelta(days=2), now - timedelta(days=1))
    asked = lambda: len(pebble.requests("/renewalInfo") or pebble.requests("/draft-ietf-acme-ari"))  # noqa: E731
    assert serials(cli("drive", NAME)) != first
    assert pebble.new_orders == 2
    httpd.graceful()
    # Not before the authority wants to be asked again.
    before = asked()
    assert before > 0
    assert [cli("drive", NAME).code for _ in range(3)] == [0, 0, 0]
    assert asked() == before + 1
    assert pebble.new_orders == 2


def test_a_named_domain_with_files_of_its_own_is_a_failure(httpd: Httpd, cli: A2md, pki: Pki, pebble: Pebble) -> None:
    leaf = pki.ca("own").leaf(NAME)
    files = (f"MDCertificateFile {leaf.chain_file}", f"MDCertificateKeyFile {leaf.key_file}")
    httpd.config.add("MDRenewMode manual", CONTACT).md_set(NAME, *files).http(NAME).https(NAME).managed(OTHER)
    httpd.start()
    done = cli.json("drive", NAME)
    assert (done.code, done.document["status"]) == (1, 22)
    assert f"{NAME}: not renewed, as it serves MDCertificateFile" in done.err
    assert pebble.new_orders == 0
    # For all domains there is nothing wrong with that.
    done = cli("drive")
    assert done.code == 0, done
    assert f"{NAME}: not renewed, as it serves MDCertificateFile" in done.err and f"{OTHER}: the new certificates are active" in done.err
    assert not due(cli)


# Servers that know nothing of the domain


def add(cli: A2md, pebble: Pebble, name: str) -> None:
    there = cli.with_options("-a", pebble.directory)
    for words in (["add", name], ["update", name, "contacts", "admin@example.org"], ["update", name, "agreement", "accepted"]):
        done = there(*words)
        assert done.code == 0, done


@pytest.mark.parametrize("hosts", [[NAME], []], ids=["host", "no host"])
def test_a_server_without_any_domain_answers_what_a2md_is_asked(
    httpd: Httpd, cli: A2md, sandbox: Sandbox, pebble: Pebble, hosts: list[str]
) -> None:
    for host in hosts:
        httpd.config.http(host)
    httpd.start()
    assert not sandbox.store.exists()
    add(cli, pebble, NAME)
    done = cli("drive", "-c", "http-01", NAME)
    assert done.code == 0, done
    assert sandbox.domains(NAME).joinpath("pubcert.pem").exists()
    assert pebble.new_orders == 1


def test_domains_are_renewed_side_by_side_and_one_that_fails_stops_no_other(
    httpd: Httpd, cli: A2md, sandbox: Sandbox, pebble: Pebble
) -> None:
    names = [f"{letter}.side.example.org" for letter in "abcdef"]
    httpd.start()
    for name in names:
        add(cli, pebble, name)
    cli("update", names[2], "agreement")
    md = sandbox.md_json(names[2])
    md["ca"]["challenges"] = ["foo-01"]
    sandbox.write(f"md/domains/{names[2]}/md.json", json.dumps(md))
    done = cli("drive")
    assert (done.code, done.out) == (1, ""), done
    assert done.err.splitlines()[-1] == f"5 renewed, 1 failed: {names[2]}"
    assert (pebble.new_accounts, pebble.new_orders) == (1, 5)
    assert sandbox.account_ids() == ["ACME-localhost-0000"]
    assert {sandbox.md_json(name)["ca"].get("account") for name in names if name != names[2]} == {"ACME-localhost-0000"}

    done = cli.json("drive", "--jobs", "1")
    assert (done.code, done.document["output"]) == (1, []) and done.document["detail"], done
    assert done.err.splitlines()[-1] == f"1 failed: {names[2]}, 5 not due"

    shown = cli.on_a_terminal("drive", "-f", *names[:2])
    assert shown.code == 0
    for words in (f"{names[0]}: Creating new order", f"{names[1]}: Creating new order", "0 of 2 domains", "2 renewed"):
        assert words in shown.err, shown.err


def test_a_first_certificate_takes_one_command(httpd: Httpd, cli: A2md, pebble: Pebble) -> None:
    httpd.start()
    done = cli("add", "--now", "-a", pebble.directory, "-t", "accepted", "-c", "admin@example.org", NAME, OTHER)
    assert (done.code, done.out) == (0, f"md: {NAME} [{NAME}, {OTHER}]\n"), done
    assert f"{NAME}: the new certificates are active" in done.err
    assert f"{NAME}  good  " in cli("status").out


def test_a_restart_leaves_what_a2md_is_at_work_on(httpd: Httpd, cli: A2md, sandbox: Sandbox, pebble: Pebble) -> None:
    httpd.config.managed(OTHER)
    httpd.start().obtain(OTHER)
    add(cli, pebble, NAME)
    # As in the middle of a drive, and as after one that was killed long ago.
    answer = f"token.{'t' * 43}"
    sandbox.write(f"md/staging/{NAME}/md.json", sandbox.domains(NAME).joinpath("md.json").read_text())
    for name in (NAME, "gone.example.org"):
        sandbox.write(f"md/challenges/{name}/acme-http-01.txt", answer)
    httpd.graceful()
    assert httpd.get(f"http://{NAME}/.well-known/acme-challenge/token").text == answer
    assert not sandbox.challenges("gone.example.org").exists()


# A stolen key


def recipe() -> list[list[str]]:
    """The commands of docs/howto.md, in order."""
    text = (REPO / "docs/howto.md").read_text()
    [steps] = re.findall(r"^## A key was stolen.*?(?=^## )", text, re.M | re.S)
    lines = [line for block in re.findall(r"^ +```\n(.*?)^ +```$", steps, re.M | re.S) for line in block.splitlines()]
    return [[NAME if word == "example.org" else word for word in line.split()] for line in lines]


@pytest.mark.parametrize("mode", ["restart", "live", "graceful"])
def test_the_recipe_for_a_stolen_key(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, cli: A2md, mode: str) -> None:
    # A server that asks finds the revocation, too, and would have the domain while drive wants it.
    httpd.config.add(f"MDActivation {mode}", "MDRenewViaARI off", "MDPrivateKeys secp256r1 rsa2048", CONTACT).managed(NAME)
    httpd.start()
    if mode == "restart":
        httpd.obtain(NAME)
    kinds = {"secp256r1": "ECDSA+SHA256", "rsa2048": "RSA-PSS+SHA256"}
    served = lambda: [httpd.served(NAME, sigalgs=kind, ca=pebble.root) for kind in kinds.values()]  # noqa: E731
    httpd.wait(lambda: all(each.verified for each in served()), what="a first certificate")
    stolen = [each.leaf for each in served()]
    told: list[str] = []
    commands = recipe()
    assert [words[0] for words in commands] == ["a2md", "a2md", "apachectl"], commands
    for words in commands:
        if words[0] == "apachectl":
            httpd.graceful()
        else:
            done = cli(*words[1:])
            assert done.code == 0, done
        if "drive" in words:
            told = serials(done)
        if told and mode == "live":
            # Without the restart, and with it.
            httpd.wait(lambda: [each.leaf.serial for each in served()] == told, what="what drive has told")
    assert [each.leaf.serial for each in served()] == told
    assert not set(told) & {leaf.serial for leaf in stolen}
    assert all(each.verified for each in served())
    assert [pebble.cert_status(leaf)["Status"] for leaf in stolen] == ["Revoked"] * 2
    assert pebble.new_orders == 4
