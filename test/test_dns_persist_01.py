"""dns-persist-01: one TXT record, made by the administrator, proves a name and its wildcard again and again."""

from __future__ import annotations

import pytest

from harness.a2md import A2md
from harness.certificate import Certificate
from harness.dns import Dns
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox

NAME = "a.example.org"
RECORD = f"_validation-persist.{NAME}"


@pytest.mark.module("ours")
@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
def test_a_record_that_is_missing_or_stale_is_told_and_then_serves_for_good(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, dns: Dns
) -> None:
    cli = A2md(sandbox, pebble)
    httpd.config.add("MDCAChallenges dns-persist-01", "MDRetryDelay 1d", "MDServerStatus on")
    httpd.config.md(NAME, f"*.{NAME}").https(NAME, aliases=[f"*.{NAME}"])
    httpd.log.expects("AH10056")
    httpd.start().wait_log("AH10056")

    # Missing: the log, the status and the command line tell the same record.
    (told,) = cli.json("persist-record", NAME).output
    assert told["value"] == f"pebble.letsencrypt.org; accounturi={told['account']}; policy=wildcard"
    record = {"name": RECORD, "value": told["value"]}
    assert (told["domain"], told["ca"], {name: told[name] for name in record}) == (NAME, pebble.directory, record)
    assert httpd.md_status(NAME)["txt-records"] == [record]
    advice = f"set the TXT record {RECORD} to '{told['value']}'"
    # The report is written after the log.
    httpd.wait(lambda: advice in httpd.md_status(NAME)["renewal"]["last"].get("detail", ""))
    assert advice in httpd.log.find("AH10056")[0].text and f"{RECORD} '{told['value']}'" in httpd.log.find("MD0044")[0].text
    assert f"<code>{RECORD}</code> TXT" in httpd.admin("/server-status").text

    # Stale: not for wildcards.
    dns.set_txt(RECORD, told["value"].removesuffix("; policy=wildcard"))
    httpd.stop()
    httpd.start().wait_log("AH10056", times=2)
    assert advice in httpd.log.find("AH10056")[1].text

    dns.clear_txt(RECORD)
    block = cli("persist-record", "-u", "2099-01-01", NAME).out.splitlines()
    (value,) = [line.removeprefix("value: ") for line in block if line.startswith("value: ")]
    assert value == told["value"] + "; persistUntil=4070908800"
    dns.set_txt(RECORD, value)
    httpd.stop()
    httpd.start().obtain(NAME)
    first = httpd.served(f"www.{NAME}", ca=pebble.root)
    assert first.verified and sorted(first.names) == [f"*.{NAME}", NAME]
    assert httpd.md_status(NAME)["txt-records"] == [record]

    # Neither the DNS nor the server has to do anything.
    httpd.stop()
    done = cli("drive", "-f", NAME)
    assert done.code == 0, done
    assert Certificate.from_pem((sandbox.domains(NAME) / "pubcert.pem").read_text()).serial != first.leaf.serial
    assert (pebble.new_accounts, len(httpd.log.find("MD0044"))) == (1, 1)
