"""The command line as a client of a CA: accounts, and certificates for what a running server answers."""

from __future__ import annotations

import json
import re

import pytest

from harness.a2md import A2md
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

NAME = "a.example.org"


@pytest.fixture
def cli(sandbox: Sandbox, pebble: Pebble) -> A2md:
    """a2md as a client of `pebble`."""
    return A2md(sandbox, pebble)


@pytest.fixture
def answering(httpd: Httpd) -> Httpd:
    """A running server on the same store that does not renew by itself: it answers challenges."""
    httpd.config.add("MDRenewMode manual").managed(NAME)
    httpd.log.expects("AH10085", optional=True)
    return httpd.start()


def register(cli: A2md) -> str:
    done = cli.with_options("-t", "accepted")("acme", "newreg", "admin@example.org")
    match = re.fullmatch(r"registered: (\S+)\n", done.out)
    assert match, done
    return match[1]


# Accounts


def test_an_account_is_registered_and_saved(cli: A2md, sandbox: Sandbox, pebble: Pebble) -> None:
    done = cli.with_options("-t", "accepted")("acme", "newreg", "admin@example.org", "mailto:b@example.org")
    assert (done.code, done.out, done.err) == (0, "registered: ACME-localhost-0000\n", "")
    account = json.loads(sandbox.accounts("ACME-localhost-0000").joinpath("account.json").read_text())
    assert account["ca-url"] == pebble.directory
    assert account["contact"] == ["mailto:admin@example.org", "mailto:b@example.org"]
    assert (account["status"], account["agreement"], account["registration"]["status"]) == ("valid", "accepted", "valid")
    assert "ENCRYPTED" in sandbox.accounts("ACME-localhost-0000").joinpath("account.pem").read_text()
    assert register(cli) == "ACME-localhost-0001"
    assert pebble.new_accounts == 2
    modes = {path: str(access) for path, access in sandbox.tree().items() if "0000" in path}
    folder = "accounts/ACME-localhost-0000"
    assert modes == {folder: "0755 root", f"{folder}/account.json": "0644 root", f"{folder}/account.pem": "0644 root"}


def test_an_account_that_cannot_be_read_back_is_not_lost(cli: A2md, pebble: Pebble, world: World) -> None:
    gate = world.gate(pebble)
    gate.refuse("/my-account/", 500, {"type": "urn:ietf:params:acme:error:serverInternal", "detail": "not now"})
    there = cli.with_options("-a", gate.directory, "-t", "accepted")
    done = there("acme", "newreg", "admin@example.org")
    assert done.code == 1
    assert "account ACME-localhost-0000 is registered and saved, but cannot be read back" in done.err
    done = there("acme", "validate", "ACME-localhost-0000")
    assert (done.code, done.out) == (0, "account valid: ACME-localhost-0000\n")
    assert pebble.new_accounts == 1


def test_an_account_needs_the_agreement(cli: A2md, sandbox: Sandbox) -> None:
    done = cli("acme", "newreg", "admin@example.org")
    first, second = done.err.splitlines()
    assert (done.code, done.out) == (1, "")
    assert "did not agree to the terms of service" in first
    assert re.match(r"\[\S+ warning\] acme problem urn:ietf:params:acme:error:\w+: ", first)
    assert re.match(r"\[\S+ err\] failed to register new account$", second)
    assert sandbox.account_ids() == []


@pytest.mark.parametrize("contact", ["nobody", "a@b@c.org", "mailto:x", "a b@c.org"])
def test_wrong_contacts_and_agreements_are_refused_before_the_ca_is_asked(cli: A2md, pebble: Pebble, contact: str) -> None:
    assert cli.with_options("-t", "accepted").json("acme", "newreg", contact).document["status"] == 22
    assert cli.with_options("-t", "yes").json("acme", "newreg", "a@example.org").document["status"] == 22
    assert pebble.new_accounts == 0


def test_a_document_has_the_account(cli: A2md) -> None:
    done = cli.with_options("-t", "accepted").json("acme", "newreg", "admin@example.org")
    assert done.output[0]["account"] == "ACME-localhost-0000"


@pytest.mark.pebble(strict=True)
def test_accounts_are_validated_agreed_and_removed(cli: A2md, sandbox: Sandbox, pebble: Pebble) -> None:
    first, second = register(cli), register(cli)
    done = cli("acme", "validate", first, second)
    assert (done.code, done.out) == (0, f"account valid: {first}\naccount valid: {second}\n")
    done = cli("acme", "agree", first)
    match = re.fullmatch(r"agreed terms-of-service: (\S+)\n", done.out)
    assert match, done
    account = json.loads(sandbox.accounts(first).joinpath("account.json").read_text())
    assert account["agreement"] == match[1]
    done = cli.with_options("-t", "https://ca.example.org/terms")("acme", "agree", first)
    assert done.out == "agreed terms-of-service: https://ca.example.org/terms\n"

    pebble.kill()
    done = cli("acme", "delreg", first, "ACME-unknown-0000")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert not list(sandbox.accounts(first).iterdir())
    assert sandbox.accounts(second).joinpath("account.pem").exists()
    failed = cli("acme", "validate", second)
    assert failed.code == 1
    assert "[111(Connection refused)]" in failed.err


@pytest.mark.parametrize("command", ["validate", "agree"])
def test_accounts_that_cannot_be_used_are_told(cli: A2md, pebble: Pebble, command: str) -> None:
    done = cli("acme", command, "ACME-localhost-0000")
    assert (done.code, done.err) == (1, "unknown account: ACME-localhost-0000\n")
    assert cli.json("acme", command, "x").document["status"] == 2
    account = register(cli)
    elsewhere = A2md(cli.sandbox, None, ("-a", "https://localhost:1/dir"))("acme", command, account)
    assert elsewhere.code == 1
    assert f"account {account} is at {pebble.directory}" in elsewhere.err


def test_an_account_that_the_ca_forgot_is_not_used_again(cli: A2md, sandbox: Sandbox, pebble: Pebble) -> None:
    account = register(cli)
    pebble.restart()
    done = cli("acme", "validate", account)
    assert done.code == 1
    assert "accountDoesNotExist" in done.err or "unauthorized" in done.err or "malformed" in done.err, done
    assert "status" not in json.loads(sandbox.accounts(account).joinpath("account.json").read_text())


def test_a_ca_that_is_not_there_or_not_trusted_is_told(cli: A2md, sandbox: Sandbox, pebble: Pebble) -> None:
    cli("list")
    untrusting = A2md(sandbox, None, ("-a", pebble.directory, "-t", "accepted"))("acme", "newreg", "a@example.org")
    assert untrusting.code == 1
    assert "Unsuccessful in contacting ACME server at" in untrusting.err
    proxy = cli.with_options("-p", "http://localhost:1/", "-t", "accepted").json("acme", "newreg", "a@example.org")
    assert (proxy.code, proxy.document["description"]) == (1, "Connection refused")
    pebble.kill()
    dead = cli.with_options("-t", "accepted").json("acme", "newreg", "a@example.org")
    assert (dead.document["status"], dead.document["description"], dead.document["problem"]) == (111, "Connection refused", "transport-connect")
    assert "no connection to localhost" in dead.document["detail"]
    assert "Connection refused" in dead.err


# Certificates


def prepare(cli: A2md, name: str = NAME) -> None:
    """A domain of a running server becomes one that a2md can renew."""
    for aspect in (["contacts", "admin@example.org"], ["agreement", "accepted"]):
        done = cli("update", name, *aspect)
        assert done.code == 0, done


def test_a_domain_is_driven_and_the_server_serves_it_after_a_restart(
    cli: A2md, answering: Httpd, sandbox: Sandbox, pebble: Pebble
) -> None:
    prepare(cli)
    done = cli("drive", NAME)
    assert (done.code, done.out) == (0, ""), done
    steps = ["Contacting ACME server", "Registering a new account", "Creating new order", "Setting up challenge 'http-01'"]
    assert all(f"{NAME}: {step}" in done.err for step in steps), done.err
    assert "staged set activated" in done.err
    assert not sandbox.staging(NAME).exists()
    assert not sandbox.challenges(NAME).exists()
    md = sandbox.md_json(NAME)
    assert (md["ca"]["account"], md["ca"]["url"]) == (sandbox.account_ids()[0], pebble.directory)
    assert sandbox.job(NAME, "domains")["finished"]
    assert str(sandbox.tree()[f"domains/{NAME}/privkey.pem"]) == "0600 root"
    answering.graceful()
    served = answering.served(NAME, ca=pebble.root)
    assert served.verified
    assert answering.md_status(NAME)["state"] == 2

    done = cli("drive", "-f", NAME)
    assert done.code == 0, done
    assert sandbox.archive(f"{NAME}.1").exists()
    assert (pebble.new_accounts, pebble.new_orders) == (1, 2)
    answering.graceful()
    again = answering.served(NAME, ca=pebble.root)
    assert again.verified
    assert again.leaf != served.leaf


def test_a_drive_on_a_terminal_has_a_spinner_and_one_in_a_pipe_has_none(cli: A2md, answering: Httpd) -> None:
    prepare(cli)
    done = cli.on_a_terminal("drive", "-f", NAME)
    assert (done.code, done.out) == (0, ""), done
    assert re.search(rf"\r\S* ?\S+ {NAME}: Creating new order", done.err), done.err
    assert f"{NAME}: staged set activated" in done.err
    assert "\x1b" not in cli("drive", "-f", NAME).err
    quiet = cli.with_options("-q").on_a_terminal("drive", "-f", NAME)
    assert (quiet.code, quiet.err) == (0, "")


def test_what_is_not_due_is_left_alone_unless_forced(cli: A2md, world: World, answering: Httpd, pebble: Pebble) -> None:
    prepare(cli)
    md = cli.sandbox.md_json(NAME) | {"renew-mode": 1}
    cli.sandbox.write(f"md/domains/{NAME}/md.json", json.dumps(md))
    assert cli.json("drive").document == {"output": [], "status": 0}
    assert pebble.new_orders == 1
    done = cli("drive", NAME)
    assert done.code == 0
    assert re.fullmatch(rf"{NAME}: not due before \S+ .* GMT\n", done.err)
    assert pebble.new_orders == 1
    assert cli.json("list", NAME).md["renew"] is False
    assert cli("drive", "-f", "-r").code == 0
    assert pebble.new_orders == 2


def test_a_drive_asks_the_first_authority_unless_the_server_has_gone_on_to_another(
    cli: A2md, world: World, answering: Httpd, sandbox: Sandbox, pebble: Pebble
) -> None:
    prepare(cli)
    second = world.pebble()
    md = sandbox.md_json(NAME)
    md["ca"] |= {"urls": [pebble.directory, second.directory]}
    sandbox.write(f"md/domains/{NAME}/md.json", json.dumps(md))
    pebble.stop()
    for _ in range(3):
        drive_fails(cli, f"Unsuccessful in contacting ACME server at <{pebble.directory}>")
    assert sandbox.job(NAME)["ca-url"] == pebble.directory
    # As the server leaves it after so many failures.
    first = {"url": pebble.directory, "errors": 0, "turns": 1}
    sandbox.write(f"md/staging/{NAME}/job.json", json.dumps({"name": NAME, "errors": 2, "authorities": [first]}))
    done = cli("drive", "-f", NAME)
    assert done.code == 0, done
    assert (second.new_orders, sandbox.md_json(NAME)["ca"]["url"]) == (1, second.directory)
    # The next renewal begins with the first again.
    pebble.start()
    assert cli("drive", "-f", NAME).code == 0
    assert (pebble.new_orders, second.new_orders) == (1, 1)
    assert sandbox.md_json(NAME)["ca"]["url"] == pebble.directory


def test_a_domain_whose_authority_has_changed_is_due(
    cli: A2md, world: World, answering: Httpd, sandbox: Sandbox, pebble: Pebble
) -> None:
    prepare(cli)
    md = cli.sandbox.md_json(NAME) | {"renew-mode": 1}
    cli.sandbox.write(f"md/domains/{NAME}/md.json", json.dumps(md))
    assert cli("drive").code == 0
    assert cli.json("list", NAME).md["renew"] is False
    second = world.pebble()
    updated = cli.json("update", NAME, "ca", second.directory).md
    assert (updated["ca"]["urls"], updated["renew"]) == ([second.directory], True)
    done = cli("drive", NAME)
    assert done.code == 0, done
    assert (pebble.new_orders, second.new_orders) == (1, 1)
    assert sandbox.md_json(NAME)["ca"]["url"] == second.directory
    assert cli.json("list", NAME).md["renew"] is False


def test_files_of_a2md_are_of_use_to_the_servers_user(cli: A2md, answering: Httpd, sandbox: Sandbox, pebble: Pebble) -> None:
    cli("update", NAME, "agreement")
    assert cli("drive", "-f").code == 1
    tree = sandbox.tree()
    assert str(tree[f"staging/{NAME}"]) == "0755 www-data"
    assert sandbox.job(NAME)["errors"] == 1


def drive_fails(cli: A2md, *words: str, options: tuple[str, ...] = ("-f",)) -> None:
    done = cli("drive", *options, NAME)
    assert (done.code, done.out) == (1, ""), done
    assert all(word in done.err for word in words), done.err


def test_a_drive_without_what_it_needs_says_so(cli: A2md, answering: Httpd, sandbox: Sandbox, pebble: Pebble) -> None:
    md = sandbox.md_json(NAME)
    write = lambda **changes: sandbox.write(f"md/domains/{NAME}/md.json", json.dumps(md | changes))  # noqa: E731
    write(ca={"proto": "ACME", "urls": [pebble.directory]})
    drive_fails(cli, "the CA requires you to accept the terms-of-service as specified in ")
    write(ca={"proto": "FROB", "urls": [pebble.directory]})
    drive_fails(cli, "Unknown CA protocol")
    write(ca={"proto": "ACME"})
    drive_fails(cli, "is missing MDCertificateAuthority", "[2(No such file or directory)]")
    write()
    drive_fails(cli, "None of the ACME challenge methods", "'foo-01'", options=("-f", "-c", "foo-01"))
    sandbox.write(f"md/domains/{NAME}/pubcert.pem", "x" * 2000)
    drive_fails(cli, "in error state")
    assert pebble.new_orders == 0
    sandbox.domains(NAME).joinpath("pubcert.pem").unlink()
    pebble.kill()
    drive_fails(cli, "Unsuccessful in contacting ACME server", "Connection refused")


def test_a_drive_stops_at_the_first_failure(cli: A2md, sandbox: Sandbox, pebble: Pebble) -> None:
    for name in ("b.example.org", "c.example.org"):
        cli("add", name)
    done = cli.json("drive")
    assert done.document["status"] != 0
    assert "b.example.org" in done.err
    assert "c.example.org" not in done.err


def test_one_challenge_type_can_be_chosen_for_a_drive(cli: A2md, answering: Httpd, sandbox: Sandbox) -> None:
    prepare(cli)
    done = cli("drive", "-f", "-c", "http-01", NAME)
    assert done.code == 0, done
    assert "challenges" not in sandbox.md_json(NAME)["ca"]


def test_what_the_server_has_staged_is_activated(cli: A2md, httpd: Httpd, sandbox: Sandbox, pebble: Pebble) -> None:
    httpd.config.managed(NAME)
    httpd.start().wait_staged(NAME)
    done = cli("drive", NAME)
    assert done.code == 0, done
    assert pebble.new_orders == 1
    assert sandbox.domains(NAME).joinpath("pubcert.pem").exists()


def test_a_domain_that_the_server_works_on_is_left_to_it(cli: A2md, sandbox: Sandbox) -> None:
    cli("add", NAME)
    sandbox.staging().mkdir()
    with sandbox.claim(NAME):
        drive_fails(cli, "[11(Resource temporarily unavailable)]", "another process")
        drive_fails(cli, "[11(Resource temporarily unavailable)]", "another process", options=("-r",))


def test_reset_forgets_what_a_renewal_left(cli: A2md, answering: Httpd, sandbox: Sandbox, pebble: Pebble, dns: object) -> None:
    cli("update", NAME, "agreement")
    drive_fails(cli, "terms-of-service")
    sandbox.write(f"md/staging/{NAME}/order.json", json.dumps({"url": f"{pebble.directory}/gone", "challenge-setups": [f"http-01:{NAME}"]}))
    sandbox.write(f"md/challenges/{NAME}/acme-http-01.txt", "old")
    prepare(cli)
    done = cli("drive", "-f", "-r", NAME)
    assert done.code == 0, done
    assert pebble.new_orders == 1
    assert not sandbox.challenges(NAME).exists()


@pytest.mark.pebble(nonce_reject=50)
def test_refused_nonces_are_no_failure(cli: A2md, answering: Httpd) -> None:
    account = register(cli)
    assert cli("acme", "validate", account).code == 0
    prepare(cli)
    assert cli("drive", "-f", NAME).code == 0
