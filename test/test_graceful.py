"""MDActivation graceful: the server tests its configuration and restarts itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from harness import process
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.pki import Pki
from harness.process import Proc
from harness.sandbox import Sandbox
from harness.world import World

pytestmark = pytest.mark.module("ours")

NAME, OTHER = "a.example.org", "b.example.org"
TEST, BY_ITSELF = "is tested before a restart", "restarts itself gracefully"


@contextmanager
def visitors(httpd: Httpd) -> Iterator[None]:
    """Requests on new connections all the time; none may fail."""
    stopped, failed = threading.Event(), []

    def visit() -> None:
        while not stopped.wait(0.02):
            try:
                assert httpd.get(f"http://{NAME}/").status == 200
            except Exception as error:  # noqa: BLE001
                failed.append(error)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
    assert not failed, failed


def replace(path: Path, text: str) -> None:
    """Replaces a file atomically."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def trials() -> list[Proc]:
    """Processes that test the configuration for a server."""
    return [proc for proc in process.descendants() if "MD_RS_TRIAL" in proc.command]


def test_a_server_in_the_foreground_restarts_itself_for_its_first_certificate(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    """As systemd runs it: one process that stays, an empty environment. Its arguments are those of the test too."""
    httpd.foreground, httpd.prefix = True, ["/usr/bin/env", "-i"]
    httpd.arguments = ["-f", "conf/httpd.conf", "-D", "ACTIVATE", "-C", f"Define name {NAME}"]
    httpd.config.add("<IfDefine ACTIVATE>", "MDActivation graceful", "</IfDefine>", "MDRenewWindow 100d")
    httpd.config.md("${name}").http(NAME).https(NAME)
    httpd.start()
    parent = httpd.parent
    with visitors(httpd):
        assert httpd.get(f"https://{NAME}/").status == 503
        httpd.wait(lambda: httpd.get(f"https://{NAME}/").status == 200, what="a restart")
    assert httpd.served(NAME, ca=pebble.root).verified
    # Its successor is due at once, and waits for the next hour.
    httpd.wait_log("new certificates wait for a restart until")
    assert (httpd.log.count(BY_ITSELF), httpd.log.count("AH10068"), httpd.log.count(TEST)) == (1, 1, 1)
    assert Proc.of(int((sandbox.run / "httpd.pid").read_text())) == parent
    assert not trials()


def test_a_server_restarts_itself_in_its_hours_and_only_if_it_would_start_again(
    world: World, httpd: Httpd, pebble: Pebble, sandbox: Sandbox, pki: Pki
) -> None:
    gate, leaf = world.gate(pebble), pki.ca("own").leaf(OTHER)
    good = leaf.cert_file.read_text()
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", "MDActivation graceful", "MDActivationMinInterval 1s")
    httpd.config.add("MDRenewWindow 100d").managed(NAME)
    httpd.config.https(OTHER, f"SSLCertificateFile {leaf.cert_file}", f"SSLCertificateKeyFile {leaf.key_file}")
    config = httpd.config.text()
    hour = (datetime.now().hour + 6) % 24
    httpd.config.add(f"MDActivationWindow {hour:02}:00-{hour:02}:30")
    httpd.start()
    parent = httpd.parent
    httpd.wait_log("wait for a restart in the hours of MDActivationWindow")
    assert (httpd.get(f"https://{NAME}/").status, httpd.log.count(TEST)) == (503, 0)

    # The certificate is always due, so that after each restart there is something new, when the gate lets it pass.
    hold = gate.hold("/finalize-order/")
    httpd.config.add("MDActivationWindow any")
    with visitors(httpd):
        httpd.graceful()
        first = httpd.served(NAME, ca=pebble.root)
        replace(sandbox.conf, f"{config}NoSuchDirective on\n")
        hold.release()
        httpd.wait_log("MD0038")
        said = httpd.log.find("MD0038")[0].text
        assert f"of {sandbox.conf}: Invalid command 'NoSuchDirective'" in said

        # httpd -t finds nothing wrong with this.
        replace(leaf.cert_file, "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
        replace(sandbox.conf, config)
        assert httpd.configtest().ok
        httpd.wait_log(f"start again: AH02562: Failed to configure certificate {OTHER}")
        assert httpd.log.count(BY_ITSELF) == 0
        assert first.verified and httpd.served(NAME).leaf == first.leaf

        hold = gate.hold("/finalize-order/")
        replace(leaf.cert_file, good)
        httpd.wait_log(BY_ITSELF)
        httpd.wait(lambda: httpd.served(NAME, ca=pebble.root).leaf != first.leaf, what="a restart")
    assert httpd.parent == parent and httpd.running

    # A test that does not end by itself ends with the configuration.
    os.mkfifo(sandbox.root / "fifo")
    replace(sandbox.conf, f"{config}Include fifo\n")
    hold.release()
    httpd.wait(trials, what="a test")
    [trial] = trials()
    httpd.graceful()
    assert not trial.alive
    httpd.log.expects("MD0038")


def test_it_has_no_effect_where_there_is_one_process(httpd: Httpd) -> None:
    httpd.foreground, httpd.arguments = True, ["-X"]
    httpd.config.add("MDActivation graceful").managed(NAME)
    httpd.log.expects("MD0039")
    httpd.start()
    httpd.wait_staged(NAME)
    assert "httpd -X" in httpd.log.find("MD0039")[0].text
