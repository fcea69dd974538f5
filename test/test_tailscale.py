"""MDCertificateProtocol tailscale: certificates of a daemon on the same machine, over its socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.httpd import Httpd
from harness.pki import Ca, Pki
from harness.sandbox import USER, Sandbox
from harness.tailscaled import Tailscaled

pytestmark = pytest.mark.module("ours")

NAME = "pi.chicken.ts.net"


@pytest.fixture
def ca(pki: Pki) -> Ca:
    return pki.ca("root of the tailnet").intermediate("issuer of the tailnet")


@pytest.fixture
def daemon(sandbox: Sandbox, ca: Ca) -> Iterator[Tailscaled]:
    folder = sandbox.root / "tailscale"
    folder.mkdir(mode=0o755)
    daemon = Tailscaled(folder / "tailscaled.sock", ca, NAME).start()
    yield daemon
    if daemon.socket.exists():
        daemon.stop()


def _configure(httpd: Httpd, daemon: Tailscaled, *lines: str) -> None:
    httpd.config.clear().add(*lines).md_set(
        NAME,
        "MDCertificateProtocol tailscale",
        f"MDCertificateAuthority file://localhost{daemon.socket}",
    ).https(NAME)


def _fails(httpd: Httpd, *words: str) -> None:
    """Start anew, and see the words in the report and in the log."""
    httpd.log.expects("AH10056")
    before = httpd.log.count("AH10057")
    # A full start tries again at once.
    httpd.stop()
    httpd.start().wait_log("AH10057", times=before + 1)
    logged = httpd.log.find("AH10056")[-1].text

    def is_told() -> bool:
        detail = httpd.md_status(NAME).get("renewal", {}).get("last", {}).get("detail", "")
        return all(word in detail for word in words)

    assert all(word in logged for word in words), logged
    httpd.wait(is_told, what=f"{words} in md-status")


def test_certificates_of_the_daemon_are_obtained_served_and_renewed_and_its_refusals_told(
    lone_httpd: Httpd, sandbox: Sandbox, daemon: Tailscaled
) -> None:
    httpd, socket = lone_httpd, str(daemon.socket)
    assert daemon.ca.parent
    httpd.config.defaults = ["MDCheckInterval 1s"]
    _configure(httpd, daemon)

    # What can be wrong, one after the other.
    daemon.stop()
    _fails(httpd, socket, "No such file or directory", "check that tailscaled is installed and runs")
    daemon.start().socket.chmod(0o600)
    _fails(httpd, socket, "Permission denied", "the User of the server must be able to reach and write the socket")
    daemon.socket.chmod(0o666)
    _fails(httpd, socket, "status 403: cert access denied", f"TS_PERMIT_CERT_UID={USER}")
    daemon.permitted, daemon.name = USER, "other.chicken.ts.net"
    _fails(httpd, socket, f"500: invalid domain '{NAME}'; must be one of ['other.chicken.ts.net']", "tailscale status")
    daemon.name, daemon.pair = NAME, "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"
    _fails(httpd, socket, "the daemon's key cannot be used")
    daemon.pair = None

    # A first certificate is active after a graceful restart, with its issuer.
    httpd.stop()
    httpd.start().wait_staged(NAME)
    assert "ENCRYPTED PRIVATE KEY" in (sandbox.staging(NAME) / "privkey.secp256r1.pem").read_text()
    httpd.graceful()
    first = daemon.leaf
    assert first
    served = httpd.served(NAME, ca=daemon.ca.parent.cert_file)
    assert (served.verified, served.leaf, served.leaf.key_type) == (True, first.certificate, "secp256r1")
    assert daemon.queries[-1] == {"type": "pair"}
    assert httpd.md_status(NAME)["ca"]["proto"] == "tailscale"
    assert not list((sandbox.store / "accounts").glob("*"))

    # In its window it is renewed: live, and by a certificate that lasts longer than the one there is.
    _configure(httpd, daemon, "MDActivation live", "MDRenewWindow 95d")
    httpd.graceful().wait_log("MD0036")
    asked = next(query for query in daemon.queries if "min_validity" in query)
    assert 89 * 86400 < int(asked["min_validity"].removesuffix("s")) < 92 * 86400
    served = httpd.served(NAME, ca=daemon.ca.parent.cert_file)
    assert served.verified and served.leaf != first.certificate


def test_a_first_certificate_goes_live_and_an_authority_of_another_protocol_is_refused(
    lone_httpd: Httpd, daemon: Tailscaled
) -> None:
    httpd, daemon.permitted = lone_httpd, USER
    assert daemon.ca.parent
    httpd.config.defaults = ["MDCheckInterval 1s"]
    _configure(httpd, daemon, "MDActivation live")
    httpd.start().wait_log("MD0036")
    assert daemon.leaf and httpd.served(NAME, ca=daemon.ca.parent.cert_file).leaf == daemon.leaf.certificate

    httpd.log.expects("MD0048")
    httpd.config.add("MDCertificateProtocol tailscale").md_set(
        "b.example.org", "MDCertificateAuthority https://ca.example.org/directory"
    )
    checked = httpd.configtest()
    assert not checked.ok and "which does not match its MDCertificateProtocol" in checked.text
