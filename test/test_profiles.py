"""Certificate profiles: ordered as the CA spells them, left out where they are not there, or an error where they have to be."""

from __future__ import annotations

from datetime import timedelta
from email.utils import parsedate_to_datetime

import pytest

from harness.certificate import Certificate
from harness.httpd import Httpd
from harness.pebble import Pebble

NAME = "a.example.org"
PROFILES = pytest.mark.pebble(profiles={"classic": 90 * 86400, "shortLived": 6 * 86400})


def _life(certificate: Certificate) -> timedelta:
    return certificate.not_after - certificate.not_before


@PROFILES
def test_a_profile_is_ordered_and_a_section_can_have_another(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.add("MDProfile classic").managed(NAME)
    httpd.config.md_set("b.example.org", "MDProfile SHORTLIVED").http("b.example.org").https("b.example.org")
    httpd.start().obtain(NAME, "b.example.org")
    long, short = (httpd.served(name, ca=pebble.root) for name in (NAME, "b.example.org"))
    assert long.verified and short.verified
    assert _life(long.leaf) > timedelta(days=80)
    assert timedelta(days=5) < _life(short.leaf) < timedelta(days=7)
    assert short.names == ["b.example.org"]


@pytest.mark.module("ours")
@PROFILES
def test_short_lived_certificates_have_no_common_name(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.add("MDProfile shortlived").managed(NAME, "www.example.org")
    httpd.start().obtain(NAME)
    served = httpd.served(NAME, ca=pebble.root)
    assert served.verified
    assert served.leaf.common_name is None
    assert served.names == [NAME, "www.example.org"]


@pytest.mark.module("ours")
@PROFILES
def test_short_lives_are_renewed_at_half_unless_a_window_is_configured(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.add("MDProfile shortlived", "MDRenewViaARI off").managed(NAME)
    httpd.start().obtain(NAME)
    leaf = httpd.served(NAME, ca=pebble.root).leaf

    def left() -> float:
        return (leaf.not_after - parsedate_to_datetime(httpd.md_status(NAME)["renew-at"])) / _life(leaf)

    assert abs(left() - 0.5) < 0.001
    httpd.config.add("MDRenewWindow 20%")
    httpd.graceful()
    assert abs(left() - 0.2) < 0.001


@pytest.mark.module("ours")
@pytest.mark.pebble(profiles={"classic": 90 * 86400})
def test_a_profile_that_is_not_offered_is_left_out_or_an_error_that_names_those_that_are(
    httpd: Httpd, pebble: Pebble
) -> None:
    httpd.config.add("MDProfile tlsserver", "MDProfileMandatory on").managed(NAME)
    httpd.log.expects("AH10056")
    httpd.start().wait_log("AH10057")
    said = "the CA does not offer the profile 'tlsserver', but only classic; change MDProfile"
    assert said in httpd.log.find("AH10056")[0].text
    renewal = httpd.md_status(NAME)["renewal"]
    assert said in renewal["last"]["detail"]
    assert (renewal["errors"], pebble.new_orders) == (1, 0)

    # Changed settings make it due at once.
    httpd.config.add("MDProfileMandatory off")
    httpd.log.expects("MD0020")
    httpd.graceful().obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
    assert pebble.new_orders == 1


@pytest.mark.module("ours")
def test_names_beyond_what_a_profile_allows_are_reported(httpd: Httpd) -> None:
    names = [f"n{number}.example.org" for number in range(26)]
    httpd.config.md_set(" ".join(names), "MDProfile tlsserver", "MDRenewMode manual").https(names[0])
    assert "MD0005" not in httpd.configtest().text
    httpd.config.clear()
    httpd.log.expects("MD0005")
    httpd.config.md_set(" ".join(names), "MDProfile tlsserver").https(names[0])
    assert "has 26 names, but CAs issue certificates for at most 25" in httpd.configtest().text
