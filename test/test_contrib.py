"""The scripts below contrib/, each at work in a server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import lexicon
import pytest

from harness import network
from harness.certificate import Certificate
from harness.httpd import Httpd
from harness.module import REPO, Missing
from harness.named import Named
from harness.pebble import Pebble
from harness.sandbox import USER, Access, Sandbox
from harness.world import World

pytestmark = pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
NAME = "a.example.org"
# Large packages of the tests that lexicon does not use.
NOT_OF_LEXICON = ("pip", "setuptools", "_pytest", "pygments", "cryptography")


@pytest.fixture
def contrib(sandbox: Sandbox) -> Path:
    """The scripts, where the server's user can run them."""
    for script in (path for path in (REPO / "contrib").iterdir() if path.is_file()):
        sandbox.write(f"contrib/{script.name}", script.read_text(), 0o755)
    return sandbox.root / "contrib"


def _noting(sandbox: Sandbox, name: str) -> tuple[Path, Path]:
    """A program that notes its arguments and what it is told, and the file that it notes them in."""
    notes = sandbox.writable("notes") / name
    return sandbox.write(f"bin/{name}", f'#!/bin/sh\n{{ echo "$*"; cat; }} >>{notes}\n', 0o755), notes


def test_every_script_is_listed_and_can_be_run() -> None:
    scripts = sorted(path.name for path in (REPO / "contrib").iterdir() if path.is_file() and path.suffix != ".md")
    listed = (REPO / "contrib" / "README.md").read_text()
    for script in scripts:
        assert f"]({script})" in listed and (REPO / "contrib" / script).stat().st_mode & 0o111


def test_records_are_made_and_removed_by_nsupdate(world: World, contrib: Path) -> None:
    named = world.named("example.org")
    pebble = world.pebble(nonce_reject=0, authz_reuse=0)
    httpd = world.httpd(pebble)
    httpd.config.add("MDCAChallenges dns-01", "MDChallengeDns01Version 2")
    httpd.config.add(f"MDChallengeDns01 {contrib}/dns-01-nsupdate {named.key} 127.0.0.1#{named.port}")
    httpd.config.md(NAME, f"*.{NAME}").https(NAME, aliases=[f"*.{NAME}"])
    httpd.start().obtain(NAME)
    assert httpd.served(f"www.{NAME}", ca=pebble.root).verified
    log = named.log.read_text().replace("'", "")
    for what in ("adding an RR", "deleting an RR"):
        assert log.count(f"{what} at _acme-challenge.{NAME} TXT") == 2, log
    assert named.ask(f"_acme-challenge.{NAME}", "TXT") == []


def test_a_name_server_that_refuses_is_an_error_that_says_so(world: World, contrib: Path) -> None:
    named = world.named("example.org")
    pebble = world.pebble()
    httpd = world.httpd(pebble)
    named.key.write_text(named.key.read_text().replace('"updates"', '"other"'))
    httpd.config.add("MDCAChallenges dns-01", "MDRetryDelay 1d")
    httpd.config.add(f"MDChallengeDns01 {contrib}/dns-01-nsupdate {named.key} 127.0.0.1#{named.port}")
    httpd.config.md(NAME).https(NAME)
    httpd.log.expects("AH10056", "dns-01 teardown command failed")
    httpd.start().wait_log("AH10056")
    assert "update failed" in "\n".join(map(str, httpd.log.find("stderr:")))


@pytest.fixture
def alone() -> Iterator[World]:
    """A world where port 53, which lexicon asks, is free."""
    try:
        world = World("lexicon", own_network=True)
    except Missing as missing:
        pytest.skip(str(missing))
    yield world
    world.finish()
    world.close()
    world.remove()


def _with_lexicon(world: World, zone: str) -> tuple[Httpd, Named, Path]:
    """A server whose commands have lexicon and ask a BIND for everything, and the file with the provider's options."""
    named = world.named(zone)
    sandbox, pebble = world.sandbox, world.pebble(nonce_reject=0, authz_reuse=0)
    httpd = world.httpd(pebble)
    # The server's user need not be able to read the directory of these tests.
    shutil.copytree(Path(lexicon.__file__).parent.parent, sandbox.root / "lexicon", ignore=shutil.ignore_patterns("__pycache__", *NOT_OF_LEXICON))
    main = "import sys; sys.argv[0] = 'lexicon'; from lexicon._private.cli import main; main()"
    program = f'#!/bin/sh\nPYTHONPATH={sandbox.root}/lexicon exec /usr/bin/python3 -c "{main}" "$@"\n'
    httpd.env |= {"LEXICON": str(sandbox.write("bin/lexicon", program, 0o755)), "DNS_WAIT": "20"}
    httpd.prefix = network.asking(sandbox, [])
    [secret] = re.findall('secret "(.*?)"', named.key.read_text())
    options = sandbox.writable("secrets") / "ddns.env"
    options.write_text(f"LEXICON_DDNS_AUTH_TOKEN=hmac-sha256:updates:{secret}\nLEXICON_DDNS_DDNS_SERVER=127.0.0.1\n")
    options.chmod(0o640)
    shutil.chown(options, group=USER)
    script = sandbox.write("contrib/dns-01-lexicon", (REPO / "contrib/dns-01-lexicon").read_text(), 0o755)
    httpd.config.add("MDCAChallenges dns-01", "MDChallengeDns01Version 2", f"MDChallengeDns01 {script} {options} ddns")
    return httpd, named, options


def test_records_are_made_and_removed_by_lexicon_and_others_stay(alone: World) -> None:
    httpd, named, _ = _with_lexicon(alone, "example.org")
    named.add(f"_acme-challenge.{NAME}", "TXT", "of-another-server")
    httpd.config.md(NAME, f"*.{NAME}").https(NAME, aliases=[f"*.{NAME}"])
    httpd.start().obtain(NAME)
    assert httpd.served(f"www.{NAME}", ca=alone.pebbles[0].root).verified
    log = named.log.read_text().replace("'", "")
    assert log.count(f"adding an RR at _acme-challenge.{NAME} TXT") == 3, log
    assert named.ask(f"_acme-challenge.{NAME}", "TXT") == ['"of-another-server"']


def test_lexicon_takes_a_value_that_looks_like_an_option(alone: World) -> None:
    """One in 64 values does."""
    httpd, named, options = _with_lexicon(alone, "example.org")
    script = alone.sandbox.root / "contrib/dns-01-lexicon"
    for step, expected in (("setup", ['"-value"']), ("teardown", [])):
        words = [str(script), str(options), "ddns", step, NAME, "-value"]
        subprocess.run(network.asking(alone.sandbox, words), env={**os.environ, **httpd.env}, check=True)
        assert named.ask(f"_acme-challenge.{NAME}", "TXT") == expected


@pytest.mark.parametrize(
    ("case", "told"),
    [("readable", "everybody can read"), ("refused", "PeerBadKey"), ("lost", "does not have the record")],
)
def test_lexicon_with_a_wrong_file_or_a_record_that_does_not_come_is_an_error(alone: World, case: str, told: str) -> None:
    httpd, _, options = _with_lexicon(alone, "example.org")
    if case == "readable":
        options.chmod(0o644)
    elif case == "refused":
        options.write_text(options.read_text().replace(":updates:", ":others:"))
    else:
        httpd.env |= {"LEXICON": "/bin/true", "DNS_WAIT": "1"}
    httpd.config.add("MDRetryDelay 1d").md(NAME).https(NAME)
    httpd.log.expects("AH10056", "dns-01 setup command failed", "dns-01 teardown command failed", optional=True)
    httpd.start().wait_log("AH10056")
    assert told in "\n".join(map(str, httpd.log.find("stderr:")))


def test_chosen_events_are_mailed(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, contrib: Path) -> None:
    sendmail, mails = _noting(sandbox, "sendmail")
    httpd.env["SENDMAIL"] = str(sendmail)
    httpd.config.add(f"MDMessageCmd {contrib}/mail-event admin@example.org errored,renewed").managed(NAME)
    pebble.stop()
    httpd.log.expects("AH10056", "Unsuccessful in contacting ACME server", optional=True)
    httpd.start().wait(mails.exists, what="mail")
    pebble.start()
    httpd.wait_staged(NAME)
    httpd.wait(lambda: mails.read_text().count('{"event":') == 2, what="mail of the renewal")
    lines = mails.read_text().splitlines()
    assert [line for line in lines if line.startswith("-oi")] == ["-oi -- admin@example.org"] * 2
    assert lines[1] == "To: admin@example.org" and lines[2].endswith(f" {NAME}: errored")
    assert [line for line in lines if line.startswith("Subject:")][1].endswith(f" {NAME}: renewed")


def test_certificates_are_copied_for_another_server(httpd: Httpd, sandbox: Sandbox, contrib: Path) -> None:
    told, notes = _noting(sandbox, "told")
    target = sandbox.root / "mail"
    target.mkdir()
    httpd.config.add(f'MDMessageCmd {contrib}/copy-certificate {sandbox.store} {NAME} {target} "{told} reload now"')
    httpd.config.managed(NAME).managed("b.example.org")
    httpd.start().obtain(NAME, "b.example.org")
    assert notes.read_text().splitlines()[0] == "reload now" and notes.read_text().count("reload") == 1
    assert sorted(path.name for path in target.iterdir()) == ["privkey.pem", "pubcert.pem"]
    for name in ("privkey.pem", "pubcert.pem"):
        assert (target / name).read_bytes() == (sandbox.domains(NAME) / name).read_bytes()
        assert Access.of(target / name) == Access(0o600, "root")
    assert Certificate.chain(target / "pubcert.pem")[0].names == [NAME]


def test_cron_reloads_once_there_are_new_certificates(httpd: Httpd, sandbox: Sandbox, contrib: Path) -> None:
    flag = sandbox.writable("events") / "reload"
    apachectl, notes = _noting(sandbox, "apachectl")
    httpd.config.add(f"MDMessageCmd {contrib}/reload-flag {flag}").managed(NAME)
    httpd.start().wait_staged(NAME)
    httpd.wait(flag.exists, what="flag")
    for _ in range(2):
        sandbox.execute(contrib / "reload-flag", flag, APACHECTL=str(apachectl))
        assert not flag.exists() and notes.read_text() == "graceful\n"


def test_events_are_passed_on_to_several_programs(httpd: Httpd, sandbox: Sandbox, contrib: Path) -> None:
    programs = [sandbox.root / "events.d" / name for name in ("10-first", "20-second")]
    notes = []
    for program in programs:
        command, noted = _noting(sandbox, program.name)
        sandbox.write(f"events.d/{program.name}", f'#!/bin/sh\nexec {command} "$@"\n', 0o755)
        notes.append(noted)
    sandbox.write("events.d/README", "not a program")
    httpd.config.add(f"MDMessageCmd {contrib}/run-all {sandbox.root}/events.d").managed(NAME)
    httpd.start().wait_staged(NAME)
    httpd.wait(lambda: all(noted.exists() and f"renewed {NAME}\n{{" in noted.read_text() for noted in notes), what="events")
    assert notes[0].read_text() == notes[1].read_text()
