"""Bad configuration and a damaged store: a clear error that names the remedy, and nothing else lost."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from harness.a2md import A2md
from harness.crash import Fault
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

REFUSED = [
    ("MDomain", "MDomain: needs at least one domain name"),
    ("MDomain auto", "MDomain: needs at least one domain name"),
    ("MDomain a/b.example.org", "MDomain: 'a/b.example.org' cannot be a domain name"),
    ("<MDomainSet>\n</MDomainSet>", "<MDomainSet: section must specify a unique domain name"),
    ("<MDomain b.example.org\n</MDomain>", "<MDomain: directive missing closing '>'"),
    ("<MDomain b.example.org>\nMDStoreDir x\n</MDomain>", "MDStoreDir is not allowed inside an '<MDomainSet' context"),
    ("<MDomain b.example.org>\nMDomain c.example.org\n</MDomain>", "MDomain is not allowed inside an '<MDomainSet' context"),
    ("MDMembers sometimes", "MDMembers: unknown value 'sometimes', use 'auto|manual'"),
    ("MDMember b.example.org c.example.org", "MDMember: is only valid inside a '<MDomainSet' context, not here"),
    ("MDCertificateAuthority nobody", "MDCertificateAuthority: The CA name 'nobody' is not known"),
    ("MDCertificateAuthority nobody", "Known CA names are: LetsEncrypt, LetsEncrypt-Test, Buypass, Buypass-Test"),
    ("MDCertificateAgreement", "MDCertificateAgreement takes one argument"),
    ("MDContactEmail", "MDContactEmail takes one argument"),
    ("MDCACertificateFile", "MDCACertificateFile takes one argument"),
    ("MDStoreDir", "MDStoreDir takes one argument"),
    ("MDPrivateKeys", "MDPrivateKeys: needs to specify the private key type"),
    ("MDPrivateKeys RSA 1024", "MDPrivateKeys: '1024' must be 2048 or higher in order to be considered safe."),
    ("MDPrivateKeys RSA rsa4096", "two keys of type 'RSA' are not possible."),
    ("MDPrivateKeys P-256 p-256", "two keys of type 'p-256' are not possible."),
    ("MDPrivateKeys Default RSA", "'Default' allows no other parameter"),
    ("MDRenewMode never", "MDRenewMode: unknown mode 'never'"),
    ("MDDriveMode never", "MDDriveMode: unknown mode 'never'"),
    ("MDRenewWindow soon", "MDRenewWindow: has unrecognized format"),
    ("MDRenewWindow 100%", "a length of 100% or more is not allowed."),
    ("MDPortMap 80", "MDPortMap: no ':' after first port number"),
    ("MDPortMap x:80", "MDPortMap: unable to parse first port number"),
    ("MDPortMap 81:80", "MDPortMap: mapped port number must be 80 or 443"),
    ("MDPortMap http:x", "MDPortMap: unable to parse second port number"),
    ("MDPortMap http:70000", "MDPortMap: invalid number for port map, must be in ]0,65535]"),
    ("MDCheckInterval 3m", "MDCheckInterval: unrecognized duration format"),
    ("MDCheckInterval 10ms", "MDCheckInterval: check interval cannot be less than one second"),
    ("MDRetryDelay soon", "MDRetryDelay: unrecognized duration format"),
    ("MDRetryDelay 0", "MDRetryDelay: minimum delay must be greater than 0"),
    ("MDBaseServer maybe", "MDBaseServer: unknown 'maybe', supported parameter values are 'on' and 'off'"),
    ("MDMatchNames some", "MDMatchNames: invalid argument, must be a 'all' or 'servernames'"),
    ("MDRenewWorkers many", "MDRenewWorkers: must be a number from 1 to 64: 'many'"),
    ("<Location />\nMDRenewMode auto\n</Location>", "MDRenewMode not allowed in <Location> context"),
]


def test_what_keeps_renewals_from_success_is_said_before_an_authority_is_asked(lone_httpd: Httpd, sandbox: Sandbox) -> None:
    """By `httpd -t` as by a start: terms, words, files and ports. A command is in test_commands, a contact in test_accounts."""
    lone_httpd.config.add("MDPortMap http:- https:-", "MDCACertificateFile /nowhere/ca.pem", "MDRenewMode always")
    lone_httpd.config.md("a.example.org").md_set("b.example.org", "MDCAChallenges http-02 http-01")
    said = ("MD0092: MDCertificateAgreement is missing for a.example.org (2 domains)", "MD0093: MDCAChallenges: 'http-02' is no type")
    said += ("MD0094: MDCACertificateFile /nowhere/ca.pem", "AH10173: a.example.org: cannot be renewed: ")
    lone_httpd.log.expects("MD0093", "MD0094", "AH10173")
    checked = lone_httpd.configtest()
    assert checked.ok and all(words in checked.text for words in said), checked.text
    # Who has an account has agreed.
    sandbox.write("md/md_store.json", '{"store": {"version": 3.0}, "key": "' + "A" * 64 + '"}')
    account = '{"status": "valid", "url": "https://ca/1", "ca-url": "%s"}'
    url = "https://acme-v02.api.letsencrypt.org/directory"
    sandbox.write("md/accounts/ACME-.letsencrypt.org-0000/account.json", account % url.replace("v02", "staging-v02"))
    assert "MD0092" in lone_httpd.configtest().text
    sandbox.write("md/accounts/ACME-.letsencrypt.org-0000/account.json", account % url)
    assert "MD0092" not in lone_httpd.configtest().text


@pytest.mark.parametrize(("lines", "phrase"), REFUSED, ids=[lines.replace("\n", " ") for lines, _ in REFUSED])
def test_a_wrong_value_stops_the_start_and_says_where(lone_httpd: Httpd, sandbox: Sandbox, lines: str, phrase: str) -> None:
    lone_httpd.config.add(*lines.splitlines())
    said = lone_httpd.fails_to_start()
    assert phrase in said
    written = sandbox.conf.read_text().splitlines()
    wrong = next(number for number, line in enumerate(written, 1) if line.strip() in lines.splitlines())
    inner = wrong + (not phrase.startswith("<") and lines.startswith("<"))
    assert f"Syntax error on line {inner} of {sandbox.conf}" in said
    assert not sandbox.store.exists()


def test_a_running_server_is_spared_what_the_check_of_the_configuration_refuses(lone_httpd: Httpd) -> None:
    lone_httpd.config.http("a.example.org")
    lone_httpd.start()
    lone_httpd.config.add("MDRenewMode never")
    checked = lone_httpd.configtest()
    assert not checked.ok
    assert "MDRenewMode: unknown mode 'never'" in checked.text
    assert lone_httpd.get("http://a.example.org/").status == 200


NO_START = ["AH00016"]
"""Message of httpd itself when a module stops the start."""


def _offline(httpd: Httpd) -> Httpd:
    """Domains that nobody is asked for."""
    httpd.config.defaults = ["MDCertificateAuthority https://localhost:1/dir", "MDRenewMode manual"]
    return httpd


def test_a_store_that_is_a_file_stops_the_start(lone_httpd: Httpd, sandbox: Sandbox) -> None:
    _offline(lone_httpd).config.managed("a.example.org")
    sandbox.write("md", "not a directory")
    lone_httpd.log.expects("AH10046", *NO_START)
    said = lone_httpd.fails_to_start()
    assert f"AH10046: MDStoreDir: the store cannot be used: cannot open {sandbox.store}" in said
    assert sandbox.store.read_text() == "not a directory"


def test_a_store_without_permission_stops_the_start(lone_httpd: Httpd, world: World, sandbox: Sandbox) -> None:
    _offline(lone_httpd).config.managed("a.example.org")
    sandbox.store.mkdir()
    lone_httpd.log.expects("AH10046", *NO_START)
    assert not world.crash(lone_httpd).start(Fault("openat,open", error="EACCES", path=sandbox.store))
    said = lone_httpd.log.find("AH10046")[0].text
    assert str(sandbox.store) in said
    assert "Permission denied" in said


IN_THE_WAY = {
    "AH10047": ("md/staging", "no directory", "md/staging"),
    "AH10172": ("md/domains/a.example.org/md.json/file", "a directory in its place", "a.example.org: cannot be saved"),
    "AH10174": ("md/domains/a.example.org/fallback.pem/file", "a directory in its place", "fallback.pem"),
}
"""Path in the sandbox, what is there, and what the message says of it."""


@pytest.mark.parametrize("number", IN_THE_WAY)
def test_what_is_in_the_way_in_the_store_stops_the_start_and_is_named(
    lone_httpd: Httpd, sandbox: Sandbox, number: str
) -> None:
    _offline(lone_httpd).config.managed("a.example.org")
    path, text, phrase = IN_THE_WAY[number]
    sandbox.write(path, text)
    lone_httpd.log.expects(number)
    # What others say of it.
    lone_httpd.log.expects(*NO_START, "AH00020", "AH02572", "AH02312", "SSL Library Error", "a.example.org", optional=True)
    said = lone_httpd.fails_to_start().partition(number)[2].splitlines()[0]
    assert phrase in said
    assert (sandbox.root / path).read_text() == text


def test_a_directory_that_the_servers_user_cannot_get_stops_the_start(
    lone_httpd: Httpd, world: World, sandbox: Sandbox
) -> None:
    _offline(lone_httpd).config.managed("a.example.org")
    lone_httpd.log.expects("AH10082", *NO_START)
    assert not world.crash(lone_httpd).start(Fault("chown,fchown,fchownat", error="EPERM"))
    assert str(sandbox.store) in lone_httpd.log.find("AH10082")[0].text


def _content(sandbox: Sandbox) -> dict[str, bytes]:
    """Content of the store, without placeholders: a new host cannot be served without one."""
    files = (path for path in sorted(sandbox.store.rglob("*")) if path.is_file())
    return {str(path): path.read_bytes() for path in files if not path.name.startswith("fallback")}


DAMAGED = {
    "cut off": ('{ "store": { "version": 3.0 }, "key"', "restore it from a backup, or move"),
    "empty": ("", "restore it from a backup, or move"),
    "no key": ('{ "store": { "version": 3.0 } }', "restore it from a backup, or move"),
    "short key": ('{ "store": { "version": 3.0 }, "key": "c2hvcnQ" }', "restore it from a backup, or move"),
    "newer": ('{ "store": { "version": 4.0 }, "key": "' + 64 * "A" + '" }', "use the release that wrote it"),
}


def test_a_damaged_md_store_json_stops_a_start_and_a_restart_serves_on(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    # The CA is asked for its suggestion at any time.
    httpd.config.add("MDRenewViaARI off").managed("a.example.org")
    httpd.start().obtain("a.example.org")
    served = httpd.served("a.example.org").leaf
    secret = sandbox.store / "md_store.json"
    good = secret.read_text()
    httpd.log.expects("AH10046", *NO_START)

    # A domain that would be obtained if the store could be used.
    httpd.config.managed("b.example.org")
    secret.write_text(DAMAGED["cut off"][0])
    before, asked = _content(sandbox), len(pebble.requests())
    httpd.graceful()
    assert httpd.log.count("AH10046") == 1
    assert httpd.served("a.example.org", ca=pebble.root).leaf == served
    assert httpd.get("https://a.example.org/").status == 200
    assert httpd.get("http://b.example.org/").status == 200
    assert not any(md["watched"] for md in httpd.md_status()["managed-domains"])
    assert httpd.log.count("AH10075") >= 1
    httpd.graceful()
    assert _content(sandbox) == before
    assert len(pebble.requests()) == asked

    httpd.stop()
    for text, remedy in DAMAGED.values():
        secret.write_text(text)
        before = _content(sandbox)
        said = httpd.fails_to_start().partition("AH10046")[2]
        assert str(secret) in said
        assert remedy in said
        assert _content(sandbox) == before

    secret.write_text(good)
    httpd.start().obtain("b.example.org")
    assert httpd.served("a.example.org").leaf == served
    assert httpd.served("b.example.org", ca=pebble.root).verified
    assert pebble.new_accounts == 1


def test_damaged_files_of_a_domain_are_made_anew_and_the_certificate_stays(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    httpd.config.managed("a.example.org")
    httpd.start().obtain("a.example.org")
    served, before = httpd.served("a.example.org").leaf, sandbox.md_json("a.example.org")
    domain, [account] = sandbox.domains("a.example.org"), sandbox.account_ids()
    # What others leave in a store: not ours, and no reason to complain.
    stray = [sandbox.domains(".DS_Store"), sandbox.staging("note.txt"), sandbox.store / "lost+found"]
    for path in stray:
        path.write_text("stray")

    (domain / "md.json").write_text('{ "name": "a.example.org", "domains": [')
    (domain / "job.json").write_text("")
    (sandbox.store / "httpd.json").write_text("[]")
    (sandbox.accounts(account) / "account.json").write_text("{ nonsense")
    httpd.log.expects("failed to load JSON file domains/a.example.org/md.json")
    httpd.log.expects(f"failed to load JSON file accounts/{account}/account.json")
    httpd.config.managed("b.example.org")
    httpd.graceful()
    assert httpd.served("a.example.org").leaf == served
    after = sandbox.md_json("a.example.org")
    # The account was known from the file only.
    before["ca"].pop("account", None), after["ca"].pop("account", None)
    assert after == before

    httpd.obtain("b.example.org")
    assert httpd.served("b.example.org", ca=pebble.root).verified
    assert pebble.new_accounts == 2
    assert (sandbox.accounts(account) / "account.json").read_text() == "{ nonsense"
    assert all(path.read_text() == "stray" for path in stray)


def test_a_renewal_with_damaged_files_starts_over(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.managed("a.example.org").add("MDRenewMode manual")
    httpd.start().stop()
    httpd.config.add("MDRenewMode auto")
    names = ["md.json", "job.json", "order.json", "account.json", "account.pem", "privkey.pem", "pubcert.pem"]
    for name in names:
        sandbox.write(f"md/staging/a.example.org/{name}", "{ nonsense")
    httpd.log.expects("AH10069: a.example.org: the staged set cannot be used and is dropped")
    httpd.log.expects("staging/a.example.org", optional=True)
    httpd.start().obtain("a.example.org")
    assert httpd.served("a.example.org", ca=pebble.root).verified
    assert sandbox.renewals() == []


@pytest.mark.parametrize("name", ["privkey.pem", "pubcert.pem"])
def test_a_damaged_staged_certificate_is_dropped_and_obtained_again(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, name: str
) -> None:
    httpd.config.managed("a.example.org")
    httpd.start().wait_staged("a.example.org")
    staged = sandbox.staging("a.example.org") / name
    lines = staged.read_text().splitlines()
    # Longer than what counts as no certificate at all.
    staged.write_text("\n".join([lines[0], *("?" + line[1:] for line in lines[1:-1]), lines[-1]]) + "\n" * 1024)
    httpd.log.expects("AH10069")
    httpd.log.expects(f"staging/a.example.org/{name}", optional=True)
    httpd.graceful()
    assert not sandbox.domains("a.example.org").joinpath("pubcert.pem").exists()
    httpd.obtain("a.example.org")
    assert httpd.served("a.example.org", ca=pebble.root).verified


def test_a_job_that_claims_to_be_finished_without_its_files_is_done_anew(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    httpd.config.managed("a.example.org")
    httpd.start().wait_staged("a.example.org")
    (sandbox.staging("a.example.org") / "pubcert.pem").unlink()
    (sandbox.staging("a.example.org") / "order.json").unlink(missing_ok=True)
    httpd.stop()
    httpd.start()
    httpd.wait(lambda: (sandbox.staging("a.example.org") / "pubcert.pem").exists(), what="the chain")
    httpd.obtain("a.example.org")
    assert httpd.served("a.example.org", ca=pebble.root).verified


@pytest.mark.parametrize("name", ["privkey.pem", "pubcert.pem"])
def test_a_damaged_live_certificate_is_obtained_again(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, name: str
) -> None:
    httpd.config.managed("a.example.org").managed("b.example.org")
    httpd.start().obtain("a.example.org", "b.example.org")
    other = httpd.served("b.example.org").leaf
    (sandbox.domains("a.example.org") / name).write_text("nonsense\n" * 200)
    httpd.log.expects("AH10110")
    httpd.log.expects("a.example.org", optional=True)
    httpd.stop()
    httpd.start()
    assert httpd.get("https://a.example.org/").status == 503
    assert httpd.served("b.example.org").leaf == other
    httpd.obtain("a.example.org")
    assert httpd.served("a.example.org", ca=pebble.root).verified
    assert httpd.served("b.example.org").leaf == other


def test_domains_that_overlap_stop_a_start_and_a_running_server_gives_the_name_to_the_first(lone_httpd: Httpd) -> None:
    httpd = _offline(lone_httpd)
    httpd.config.managed("a.example.org", "www.example.org")
    httpd.start()
    httpd.log.expects("AH10038")
    httpd.config.md("b.example.org", "WWW.example.org").http("b.example.org").https("b.example.org")
    # With no name of its own, and by the name of the other.
    httpd.config.md("www.example.org").md("a.example.org", "c.example.org").https("c.example.org")

    checked = httpd.configtest()
    assert not checked.ok
    httpd.graceful()
    assert httpd.get("http://a.example.org/").status == 200
    assert {md["name"]: md["domains"] for md in httpd.md_status()["managed-domains"]} == {
        "a.example.org": ["a.example.org", "www.example.org"],
        "b.example.org": ["b.example.org"],
        "c.example.org": ["c.example.org"],
    }
    for name in ("a.example.org", "b.example.org", "c.example.org"):
        assert httpd.get(f"https://{name}/").status == 503
    httpd.stop()
    said = httpd.fails_to_start().partition("AH10038")[2].splitlines()[0]
    assert all(part in said for part in ("www.example.org", "a.example.org", "b.example.org", str(httpd.sandbox.conf)))

    # A wildcard counts, in either order.
    for names in (["*.example.org", "x.example.org"], ["x.example.org", "*.example.org"]):
        httpd.config.clear().md(names[0]).md(names[1])
        assert "AH10038" in httpd.fails_to_start()


def test_a_tls_host_with_two_domains_stops_a_start_and_leaves_a_running_server_with_the_first(lone_httpd: Httpd) -> None:
    httpd = _offline(lone_httpd)
    httpd.config.managed("a.example.org")
    httpd.start()
    httpd.log.expects("AH10042", "AH10238", *NO_START, "AH02572", "AH02312", "SSL Library Error")
    httpd.config.clear().md("a.example.org").md("b.example.org").https("a.example.org", aliases=["b.example.org"])

    httpd.graceful()
    assert httpd.served("a.example.org").names == ["a.example.org"]
    assert httpd.get("https://a.example.org/").status == 503
    httpd.stop()
    names = ("a.example.org and b.example.org", str(httpd.sandbox.conf))
    checked = httpd.configtest()
    assert not checked.ok and all(part in checked.text.partition("AH10042")[2] for part in names), checked.text
    said = [line for line in httpd.fails_to_start().splitlines() if "AH10238" in line][-1]
    assert all(part in said for part in names), said

    # Without TLS a host may belong to several.
    httpd.config.clear().md("a.example.org").md("b.example.org").http("a.example.org", aliases=["b.example.org"])
    httpd.start()
    assert httpd.get("http://b.example.org/").status == 200


def test_owners_and_modes_of_the_store_are_repaired_or_said(lone_httpd: Httpd, sandbox: Sandbox) -> None:
    cli = A2md(sandbox)
    httpd = _offline(lone_httpd)
    httpd.config.managed("a.example.org")
    httpd.start().stop()
    secret = sandbox.store / "md_store.json"
    secret.chmod(0o644)
    assert "repair: md_store.json: its mode changes from 0644 to 0600" in cli("check").out
    httpd.start().stop()
    assert secret.stat().st_mode & 0o777 == 0o600 and httpd.log.count("MD0101") == 0

    # A link, and a file that has another name too, could be any file of root.
    other = sandbox.root / "other"
    other.hardlink_to(secret)
    secret.chmod(0o644)
    httpd.start().stop()
    assert other.stat().st_mode & 0o777 == 0o644
    other.unlink()

    for path in (sandbox.store / "domains", sandbox.store / "challenges", secret):
        shutil.chown(path, "www-data")
    httpd.log.expects("MD0101")
    httpd.start()
    [line] = httpd.log.find("MD0101")
    command = f"chown -h root {secret}; chown -hR root {sandbox.store}/domains"
    assert line.text.endswith(f"repair that by: {command}") and "md_store.json (user " in line.text
    assert f"keep: domains: it belongs to user {secret.stat().st_uid} and not to root" in cli("check").out
    httpd.stop()
    subprocess.run(command, shell=True, check=True)
    httpd.start()
    assert httpd.log.count("MD0101") == 1


def test_a_host_at_the_port_for_https_without_tls_is_said(lone_httpd: Httpd) -> None:
    httpd = _offline(lone_httpd)
    httpd.config.add(f"MDPortMap http:- https:{httpd.config.https_port}")
    httpd.config.md("a.example.org").http("a.example.org").https("a.example.org", "SSLEngine off")
    httpd.config.managed("b.example.org").md("soon.example.org").http("soon.example.org")
    httpd.log.expects("MD0105")
    checked = httpd.configtest()
    said = "MD0105: a.example.org: no host of this Managed Domain has 'SSLEngine on'"
    assert checked.ok and said in checked.text and checked.text.count("MD0105") == 1, checked.text
    httpd.start()
    assert httpd.log.count("MD0105") == 2
    line = httpd.log.find("MD0105")[-1]
    assert said in line.text and str(httpd.sandbox.conf) in line.text


def test_a_new_store_is_said_with_its_place(lone_httpd: Httpd, sandbox: Sandbox) -> None:
    httpd = _offline(lone_httpd)
    httpd.config.managed("a.example.org")
    httpd.start().stop()
    [line] = httpd.log.find("MD0103")
    assert f"MDStoreDir {sandbox.store}: a new store was made; " in line.text
    httpd.start().stop()
    assert httpd.log.count("MD0103") == 1
    mistyped = sandbox.root / "nowhere" / "md"
    httpd.config.add(f"MDStoreDir {mistyped}")
    httpd.start()
    line = httpd.log.find("MD0103")[1]
    assert f"MDStoreDir {mistyped}: a new store was made, with the directory above it, which did not exist; " in line.text


def test_a_store_that_the_servers_user_cannot_enter_is_said_once(lone_httpd: Httpd, sandbox: Sandbox) -> None:
    httpd = _offline(lone_httpd)
    httpd.config.managed("a.example.org")
    httpd.start().stop()
    sandbox.store.chmod(0o700)
    httpd.log.expects("MD0102")
    httpd.log.expects("AH10081", "locks", optional=True)
    httpd.start()
    [line] = httpd.log.find("MD0102")
    assert line.text.endswith(f"chmod a+x {sandbox.store}")
    httpd.stop()
    sandbox.store.chmod(0o711)
    httpd.start()
    assert httpd.log.count("MD0102") == 1


def test_a_domain_without_a_host_is_said_and_not_watched(lone_httpd: Httpd) -> None:
    httpd = lone_httpd
    httpd.config.add("MDCertificateAuthority https://localhost:1/dir").md("a.example.org")
    httpd.config.md_set("b.example.org", "MDRenewMode always", "MDCAChallenges dns-01")
    httpd.log.expects("AH10045")
    httpd.log.expects("processing b.example.org", optional=True)
    httpd.start()
    assert [line.text for line in httpd.log.find("AH10045")][0].count("a.example.org") == 1
    assert httpd.log.count("AH10045") == 1
    assert {md["name"]: md["watched"] for md in httpd.md_status()["managed-domains"]} == {
        "a.example.org": False,
        "b.example.org": True,
    }


def test_a_name_that_a_manual_domain_lacks_is_said(lone_httpd: Httpd) -> None:
    httpd = _offline(lone_httpd)
    httpd.config.md("a.example.org", "manual").https("a.example.org", aliases=["b.example.org", "*.c.example.org"])
    httpd.log.expects("AH10040")
    httpd.start()
    [line] = httpd.log.find("AH10040")
    assert "b.example.org" in line.text
    assert httpd.md_status("a.example.org")["domains"] == ["a.example.org"]
