"""Every directive: what is refused and in which words, what has no effect, and what becomes of it in md.json."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.config import Config
from harness.httpd import Httpd
from harness.module import Module
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.pki import Pki
from harness.sandbox import Sandbox
from harness.world import World

ON_OFF = "unknown 'maybe', supported parameter values are 'on' and 'off'"
OUTSIDE = "is not allowed inside an '<MDomainSet' context"
INSIDE = "is only valid inside a '<MDomainSet' context, not here"


def _inside(line: str) -> str:
    return f"<MDomain b.example.org>\n{line}\n</MDomain>"


REFUSED = [
    ("MDomain", "needs at least one domain name"),
    (_inside("MDomain c.example.org"), OUTSIDE),
    (_inside("<MDomainSet c.example.org>\n</MDomainSet>"), OUTSIDE),
    ("<MDomainSet>\n</MDomainSet>", "section must specify a unique domain name"),
    ("<MDomain b.example.org\n</MDomain>", "directive missing closing '>'"),
    ("MDMember", INSIDE),
    ("MDMember b.example.org c.example.org", INSIDE),
    ("MDMembers sometimes", "auto|manual"),
    ("MDCertificateAuthority nobody", "The CA name 'nobody' is not known "),
    ("MDCertificateProtocol", "takes one argument"),
    ("MDCertificateProtocol ACME ACME", "takes one argument"),
    ("MDCertificateAgreement", "takes one argument"),
    ("MDContactEmail", "takes one argument"),
    ("MDDriveMode never", "unknown "),
    ("MDRenewMode never", "unknown "),
    ("MDRenewWindow soon", "has unrecognized format"),
    ("MDRenewWindow -5%", "percent must be less than 100"),
    ("MDRenewWindow 100%", "a length of 100% or more is not allowed."),
    ("MDWarnWindow 1y", "has unrecognized format"),
    ("MDWarnWindow -5%", "percent must be less than 100"),
    ("MDWarnWindow 100%", "a length of 100% or more is not allowed."),
    ("MDMustStaple maybe", ON_OFF),
    ("MDPrivateKeys", "needs to specify the private key type"),
    ("MDPrivateKeys RSA 1024", "must be 2048 or higher in order to be considered safe."),
    ("MDPrivateKeys RSA 2147483647", "is too large for an RSA key length."),
    ("MDPrivateKeys RSA rsa4096", "two keys of type 'RSA' are not possible."),
    ("MDPrivateKeys P-256 secp384r1 p-256", "two keys of type 'p-256' are not possible."),
    ("MDPrivateKeys Default RSA", "'Default' allows no other parameter"),
    ("MDProfile", "takes one argument"),
    ("MDProfileMandatory maybe", ON_OFF),
    ("MDRenewViaARI maybe", ON_OFF),
    ("MDExternalAccountBinding", "takes 1-2 arguments"),
    ("MDExternalAccountBinding a b c", "takes 1-2 arguments"),
    ("MDExternalAccountBinding absent.json", ": file not found: "),
    ("MDExternalAccountBinding damaged.json", ": error reading JSON file "),
    ("MDExternalAccountBinding no-kid.json", ": JSON does not contain 'kid' element in file "),
    ("MDExternalAccountBinding no-hmac.json", ": JSON does not contain 'hmac' element in file "),
    ("MDChallengeDns01Version 3", "Only versions `1` and `2` are supported"),
    (_inside("MDChallengeDns01Version 2"), OUTSIDE),
    ("MDHttpProxy localhost", "missing uri scheme"),
    ("MDHttpProxy localhost:3128", "uri scheme must be http or https"),
    ("MDHttpProxy ftp://localhost:3128", "uri scheme must be http or https"),
    ("MDHttpProxy http:localhost", "missing hostname"),
    ("MDHttpProxy http://a..b", "invalid hostname"),
    ("MDHttpProxy http://a_b", "invalid hostname"),
    ("MDHttpProxy http://localhost:0", "invalid port"),
    ('MDHttpProxy "http://a b"', "whitespace in uri"),
    ("MDHttpProxyCACertificateFile", "takes one argument"),
    ("MDCACertificateFile", "takes one argument"),
    ("MDCertificateFile x", INSIDE),
    (_inside("MDCertificateFile"), "takes one argument"),
    ("MDCertificateKeyFile x", INSIDE),
    (_inside("MDCertificateKeyFile"), "takes one argument"),
    ("MDRequireHttps on", "unknown 'on', supported parameter values are 'temporary' and 'permanent'"),
    ("MDStapling maybe", ON_OFF),
    ("MDStapleOthers maybe", ON_OFF),
    ("MDStaplingKeepResponse soon", "has unrecognized format"),
    ("MDStaplingKeepResponse -5%", "percent must be less than 100"),
    ("MDStaplingRenewWindow soon", "has unrecognized format"),
    ("MDStaplingRenewWindow 100%", "with a length of 100% or more is not allowed."),
    ("MDStoreDir", "takes one argument"),
    (_inside("MDStoreDir x"), OUTSIDE),
    (_inside("MDNotifyCmd x"), OUTSIDE),
    (_inside("MDMessageCmd x"), OUTSIDE),
    ("MDPortMap 80", "no ':' after first port number"),
    ("MDPortMap http:70000", "invalid number for port map, must be in ]0,65535]"),
    ("MDPortMap 81:80", "mapped port number must be 80 or 443"),
    (_inside("MDPortMap 80:80"), OUTSIDE),
    ("MDBaseServer maybe", ON_OFF),
    (_inside("MDBaseServer on"), OUTSIDE),
    ("MDMatchNames some", "invalid argument, must be a 'all' or 'servernames'"),
    (_inside("MDMatchNames all"), OUTSIDE),
    ("MDCheckInterval 3m", "unrecognized duration format"),
    ("MDCheckInterval 10ms", "check interval cannot be less than one second"),
    (_inside("MDCheckInterval 10"), OUTSIDE),
    ("MDInitialDelay soon", "unrecognized duration format"),
    ("MDInitialDelay -1s", "initial delay must not be negative"),
    (_inside("MDInitialDelay 1"), OUTSIDE),
    ("MDRetryDelay soon", "unrecognized duration format"),
    ("MDRetryDelay 0", "minimum delay must be greater than 0"),
    (_inside("MDRetryDelay 1"), OUTSIDE),
    ("MDRetryFailover 0", "invalid argument, must be a number > 0"),
    ("MDRetryFailover many", "invalid argument, must be a number > 0"),
    (_inside("MDRetryFailover 1"), OUTSIDE),
    ("MDActivationDelay soon", "unrecognized duration format"),
    (_inside("MDActivationDelay 1"), OUTSIDE),
    ("MDServerStatus maybe", ON_OFF),
    ("MDCertificateStatus maybe", ON_OFF),
    ("MDCertificateCheck x", "takes two arguments"),
    ("<Location />\nMDRenewMode auto\n</Location>", "not allowed in <Location> context"),
    ("<Location />\nMDRequireHttps temporary\n</Location>", "cannot occur within <Location> section"),
    ("<Directory />\nMDRequireHttps temporary\n</Directory>", "cannot occur within <Directory> section"),
    ('<If "true">\nMDStapling on\n</If>', "not allowed in <If> context"),
]
"""Lines, and what is said of them: by the C module, too."""

REFUSED_BY_OURS = [
    ("MDomain auto", "needs at least one domain name"),
    ("MDomain a/b.example.org", "cannot be a domain name"),
    ("MDCertificateAuthority mailto:a@example.org", "is not known"),
    ("MDPrivateKeys RSA 99999999999", "is too large for an RSA key length."),
    ("MDPortMap http:x", "unable to parse second port number"),
    ("MDPortMap x:80", "unable to parse first port number"),
    ("MDHttpProxy http://", "missing hostname"),
    ("MDHttpProxy http://localhost:99999", "invalid port"),
    ("MDRetryFailover 3x", "invalid argument, must be a number > 0"),
    ("MDCertificateMonitor x", "takes two arguments"),
    ("MDRenewWorkers 0", "must be a number from 1 to 64"),
    ("MDRenewWorkers 65", "must be a number from 1 to 64"),
    (_inside("MDRenewWorkers 2"), OUTSIDE),
]
"""Lines that the C module accepts without a check, or does not know."""


def _files(sandbox: Sandbox) -> None:
    for name, text in {"damaged": '{ "kid": ', "no-kid": '{ "hmac": "x" }', "no-hmac": '{ "kid": "x" }'}.items():
        sandbox.write(f"{name}.json", text)


@pytest.mark.module("ours")
@pytest.mark.parametrize(("lines", "phrase"), REFUSED + REFUSED_BY_OURS, ids=lambda part: part.replace("\n", " ") if "MD" in part else "")
def test_a_wrong_value_is_refused_in_words(lone_httpd: Httpd, sandbox: Sandbox, lines: str, phrase: str) -> None:
    _files(sandbox)
    lone_httpd.config.add(*lines.splitlines())
    checked = lone_httpd.configtest()
    assert not checked.ok
    assert phrase in checked.text
    assert f"of {sandbox.conf}:" in checked.text
    # It names the directive that is wrong.
    said = checked.text.partition(f"of {sandbox.conf}:")[2]
    assert any(line.split()[0].rstrip(">") in said for line in lines.splitlines())


def test_the_c_module_refuses_the_same_in_the_same_words(world: World) -> None:
    httpd = world.httpd().use(Module.named("system"))
    _files(world.sandbox)
    for lines, phrase in REFUSED:
        httpd.config.clear().add(*lines.splitlines())
        checked = httpd.configtest()
        assert not checked.ok, lines
        assert phrase in checked.text, lines


def _everything(config: Config, sandbox: Sandbox) -> None:
    """Every directive with a value of its own, all in the main server."""
    sandbox.write("eab.json", json.dumps({"kid": "kid-1", "hmac": "c2VjcmV0"}))
    config.add(
        "MDCertificateAuthority https://localhost:1/dir https://localhost:2/dir",
        "MDCertificateProtocol ACME",
        "MDCertificateAgreement accepted",
        "MDContactEmail all@example.org",
        "MDCAChallenges tls-alpn-01 http-01 foo-99",
        "MDMembers manual",
        "MDRenewMode manual",
        "MDRenewWindow 36h",
        "MDWarnWindow 5%",
        "MDMustStaple on",
        "MDPrivateKeys P-256 rsa3072",
        "MDProfile short",
        "MDProfileMandatory on",
        "MDRenewViaARI off",
        "MDExternalAccountBinding eab.json",
        "MDChallengeDns01 /bin/dns  'a b' c",
        "MDChallengeDns01Version 2",
        "MDHttpProxy http://localhost:3128",
        f"MDCACertificateFile {sandbox.root}/ca.pem",
        f"MDHttpProxyCACertificateFile {sandbox.root}/proxy.pem",
        "MDRequireHttps temporary",
        "MDStapling on",
        "MDStapleOthers off",
        "MDStaplingKeepResponse 3d",
        "MDStaplingRenewWindow 20%",
        "MDNotifyCmd /bin/notify 'x y'",
        "MDMessageCmd /bin/message",
        f"MDPortMap http:{config.http_port} https:{config.https_port}",
        "MDBaseServer on",
        "MDMatchNames servernames",
        "MDCheckInterval 1h",
        "MDInitialDelay 1h",
        "MDRetryDelay 2s",
        "MDRetryFailover 2",
        "MDActivationDelay 10h",
        "MDServerStatus off",
        "MDCertificateStatus off",
        "MDCertificateCheck site https://localhost/?",
    )


def _stored(httpd: Httpd) -> dict[str, Any]:
    httpd.log.expects("AH10045", "AH10105", "AH10173", "MD0061", "None of the ACME challenge methods", optional=True)
    httpd.start()
    names = [md["name"] for md in httpd.md_status()["managed-domains"]]
    return {name: httpd.sandbox.md_json(name) for name in names}


DIFFERENT = {
    # In C it becomes known with the first renewal; scripts that read it find it always.
    "*.ca.url": "ours says from the start which of its CAs a domain uses",
    "*.renew-window-configured": "C does not say whether it is the default",
}


def test_every_directive_is_stored_and_inherited_as_by_the_c_module() -> None:
    """A domain sets nothing, another overrides every directive, and a third one resets those that can be reset."""

    def case(world: World) -> Any:
        httpd = world.httpd()
        _everything(httpd.config, world.sandbox)
        # The files of roots are names only; C does not say so.
        httpd.log.expects("MD0094", optional=True)
        httpd.config.md("plain.example.org").https("plain.example.org", "Protocols http/1.1 acme-tls/1")
        httpd.config.add(
            "<MDomainSet own.example.org www.own.example.org>",
            "  MDCertificateAuthority letsencrypt-test",
            "  MDCertificateAgreement https://localhost/terms",
            "  MDContactEmail mailto:own@example.org",
            "  MDCAChallenges http-01",
            "  MDMembers auto",
            "  MDRenewMode always",
            "  MDRenewWindow 20%",
            "  MDWarnWindow 90mi",
            "  MDMustStaple off",
            "  MDPrivateKeys Default",
            "  MDProfile long",
            "  MDProfileMandatory off",
            "  MDRenewViaARI on",
            "  MDExternalAccountBinding kid-2 b3RoZXI",
            "  MDChallengeDns01 /bin/own",
            "  MDHttpProxy https://localhost:3129",
            "  MDCACertificateFile none",
            f"  MDHttpProxyCACertificateFile {world.sandbox.root}/own.pem",
            "  MDRequireHttps permanent",
            "  MDStapling off",
            "</MDomainSet>",
            "<MDomain back.example.org>",
            "  MDExternalAccountBinding none",
            "  MDRequireHttps off",
            "  MDStapling off",
            "  MDMustStaple off",
            "  MDCAChallenges",
            "  MDCertificateAuthority",
            "</MDomain>",
        )
        # What a host says is not inherited by the domains in it.
        httpd.config.https("own.example.org", "MDWarnWindow 7d", "MDProfile host", "MDomain host.example.org")
        httpd.config.add("MDRenewMode manual")
        httpd.log.expects("AH10040", optional=True)
        return _stored(httpd)

    mds = Oracle().both(case, DIFFERENT)
    plain, own, back = (mds[f"{name}.example.org"] for name in ("plain", "own", "back"))
    assert plain["proto"] == {"acme-tls/1": ["plain.example.org"]}
    assert (plain["renew-window"], plain["warn-window"]) == ("36h", "5%")
    assert plain["eab"] == {"kid": "kid-1", "hmac": "c2VjcmV0"}
    assert "cmd-dns-01" not in plain and "proxy-url" not in plain
    assert own["eab"] == {"kid": "kid-2", "hmac": "b3RoZXI"}
    assert (own["cmd-dns-01"], own["proxy-url"]) == ("/bin/own", "https://localhost:3129")
    assert "eab" not in back and "require-https" not in back
    assert mds["host.example.org"]["profile"] == "short"


def _static(world: World, httpd: Httpd) -> None:
    """Domains that the administrator has certificates for: one that fits, one that does not, two for one domain, none."""
    ca = world.pki.ca("own")
    leaf, rsa = ca.leaf("fits.example.org", "www.fits.example.org"), ca.leaf("two.example.org", key="rsa2048")
    ec = ca.leaf("two.example.org", key="p256")

    def pair(cert: Any) -> list[str]:
        return [f"MDCertificateFile {cert.cert_file}", f"MDCertificateKeyFile {cert.key_file}"]

    httpd.config.add("MDCertificateAuthority https://localhost:1/dir", "MDInitialDelay 1h")
    httpd.config.md_set("fits.example.org", *pair(leaf)).https("fits.example.org")
    # mod_ssl's word for a certificate of other names.
    httpd.log.expects("AH01909")
    httpd.config.md_set("other.example.org", *pair(leaf)).https("other.example.org")
    httpd.config.md_set("two.example.org", *pair(rsa), *pair(ec), "MDRenewMode auto").https("two.example.org")
    httpd.config.md_set("always.example.org", *pair(leaf), "MDRenewMode always", "MDCAChallenges http-01")
    httpd.config.md_set("manual.example.org", *pair(leaf), "MDRenewMode manual")


def test_certificate_files_are_served_where_they_are_and_known_as_with_the_c_module() -> None:
    def case(world: World) -> Any:
        httpd = world.httpd()
        _static(world, httpd)
        mds = _stored(httpd)
        certs = {name: httpd.md_status(name)["cert"] for name in mds}
        keys = {httpd.served("two.example.org", sigalgs=algs).leaf.key_type for algs in ("ECDSA+SHA256", "RSA-PSS+SHA256")}
        served = [httpd.served("fits.example.org").names, sorted(keys)]
        status = {name: httpd.md_status(name) for name in mds}
        return mds, certs, served, {name: (md["watched"], md["renew-mode"]) for name, md in status.items()}

    differences = {
        "0.*.ca.url": DIFFERENT["*.ca.url"],
        "0.*.state-descr": "ours calls the certificate by its number, as md-status does",
    }
    mds, certs, served, status = Oracle().both(case, differences)
    assert {name: md["state"] for name, md in mds.items()} == {
        "always.example.org": 1,
        "fits.example.org": 2,
        "manual.example.org": 1,
        "other.example.org": 1,
        "two.example.org": 2,
    }
    assert list(certs["two.example.org"]) == ["0", "1", "valid"]
    assert served == [["fits.example.org", "www.fits.example.org"], ["rsa2048", "secp256r1"]]
    assert status["two.example.org"] == [True, 0]
    assert status["always.example.org"] == [True, 2]


def test_certificate_files_with_renewals_are_served_on_and_one_certificate_is_kept_ready(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, pki: Pki
) -> None:
    leaf = pki.ca("own").leaf("a.example.org", days=1)
    files = [f"MDCertificateFile {leaf.cert_file}", f"MDCertificateKeyFile {leaf.key_file}"]
    httpd.config.md_set("a.example.org", *files, "MDRenewMode always", "MDRenewWindow 2d").https("a.example.org")
    httpd.config.http("a.example.org")
    httpd.start().obtain("a.example.org")
    assert httpd.served("a.example.org").leaf.serial == leaf.certificate.serial
    assert (sandbox.domains("a.example.org") / "pubcert.pem").exists()
    looks, orders = httpd.log.count("AH10107"), len(pebble.requests("/order-plz"))
    httpd.wait_log("AH10107", times=looks + 2)
    assert len(pebble.requests("/order-plz")) == orders
    # Without the files it takes over.
    httpd.config.clear().md("a.example.org").https("a.example.org")
    httpd.graceful()
    assert httpd.served("a.example.org", ca=pebble.root).verified
    assert httpd.log.count("AH10059") == 1


FAULTS = {
    "AH10170": ["MDCertificateFile {cert}"],
    "AH10171": ["MDCertificateKeyFile {key}"],
    "AH10172": ["MDCertificateProtocol ACMEv9"],
}


@pytest.mark.parametrize("number", FAULTS)
def test_settings_that_contradict_each_other_stop_a_start_and_leave_a_running_server_alone(
    lone_httpd: Httpd, pki: Pki, number: str
) -> None:
    httpd, leaf = lone_httpd, pki.ca("own").leaf("a.example.org")
    lines = [line.format(cert=leaf.cert_file, key=leaf.key_file) for line in FAULTS[number]]
    httpd.config.defaults = ["MDCertificateAuthority https://localhost:1/dir", "MDInitialDelay 1h"]
    httpd.log.expects("AH10173", optional=True)
    httpd.config.managed("b.example.org")
    httpd.start()
    httpd.log.expects(number)
    httpd.config.md_set("a.example.org", *lines).https("a.example.org").http("a.example.org")
    checked = httpd.configtest()
    assert not checked.ok
    assert f"{number}: a.example.org" in checked.text
    assert str(httpd.sandbox.conf) in checked.text
    httpd.graceful()
    assert httpd.get("https://a.example.org/").status == 503
    assert httpd.get("http://a.example.org/").status == 200
    assert {md["name"]: md["watched"] for md in httpd.md_status()["managed-domains"]} == {
        "a.example.org": False,
        "b.example.org": True,
    }
    httpd.stop()
    assert number in httpd.fails_to_start()


def test_a_file_that_is_gone_at_a_restart_puts_its_domain_out_of_service(lone_httpd: Httpd, pki: Pki) -> None:
    httpd, leaf = lone_httpd, pki.ca("own").leaf("a.example.org")
    lines = [f"MDCertificateFile {leaf.cert_file}", f"MDCertificateKeyFile {leaf.key_file}"]
    httpd.config.md_set("a.example.org", *lines).https("a.example.org").http("b.example.org")
    httpd.start()
    assert httpd.get("https://a.example.org/").status == 200
    leaf.cert_file.rename(leaf.cert_file.with_suffix(".away"))
    httpd.log.expects("AH10110")
    checked = httpd.configtest()
    assert not checked.ok
    assert f"AH10110: a.example.org: file {leaf.cert_file} does not exist" in checked.text
    httpd.graceful()
    assert httpd.get("https://a.example.org/").status == 503
    assert httpd.get("http://b.example.org/").status == 200
    leaf.cert_file.with_suffix(".away").rename(leaf.cert_file)
    httpd.graceful()
    assert httpd.served("a.example.org").leaf.serial == leaf.certificate.serial


def test_names_that_are_bound_to_fail_are_said_once_per_domain_and_start(lone_httpd: Httpd) -> None:
    httpd = lone_httpd
    # One of them is public, and none is asked so soon.
    cas = "https://localhost:1/dir https://acme.ssl.com/dir"
    httpd.config.add(f"MDCertificateAuthority {cas}", "MDInitialDelay 1h")
    httpd.log.expects("AH10173", optional=True)
    names = [f"n{number}.many.example.org" for number in range(101)]
    httpd.config.md(*names).http(names[0])
    httpd.config.md("printer.local", "under_score.example.org", "10.0.0.1", "ok.example.org").http("printer.local")
    httpd.config.md("nowhere.example.org")
    checked = httpd.configtest()
    assert checked.ok
    for number in ("MD0005", "MD0006", "AH10045"):
        assert checked.text.count(f"{number}:") == 1, checked.text
    httpd.log.expects("MD0005", "MD0006", "AH10045")
    httpd.start()
    said = {number: [line.text for line in httpd.log.find(number) if line.pid == httpd.parent.pid] for number in ("MD0005", "MD0006")}  # type: ignore[union-attr]
    assert ["has 101 names" in text for text in said["MD0005"]] == [True]
    [unfit] = said["MD0006"]
    assert all(name in unfit for name in ("printer.local (", "under_score.example.org (", "10.0.0.1 ("))
    assert "ok.example.org" not in unfit
    # Nobody asks a CA for these.
    httpd.config.add("MDRenewMode manual")
    httpd.graceful()
    assert httpd.log.count("MD0006") == 2


def test_required_https_without_a_tls_host_is_said(lone_httpd: Httpd) -> None:
    httpd = lone_httpd
    httpd.config.add("MDCertificateAuthority https://localhost:1/dir", "MDRenewMode manual", '<If "true">', "MDRequireHttps temporary", "</If>")
    httpd.config.md("a.example.org").http("a.example.org").managed("b.example.org")
    httpd.log.expects("AH10105")
    httpd.start()
    assert [line.text.count("MD a.example.org does not match") for line in httpd.log.find("AH10105")] == [1]
    assert httpd.sandbox.md_json("a.example.org")["require-https"] == "temporary"


def test_a_certificate_of_the_host_is_served_until_its_domain_has_one(httpd: Httpd, pebble: Pebble, pki: Pki) -> None:
    leaf = pki.ca("own").leaf("a.example.org")
    own = [f"SSLCertificateFile {leaf.cert_file}", f"SSLCertificateKeyFile {leaf.key_file}"]
    httpd.config.add("MDPrivateKeys secp256r1").md("a.example.org").http("a.example.org").https("a.example.org", *own)
    httpd.start()
    assert httpd.served("a.example.org").leaf.serial == leaf.certificate.serial
    assert httpd.get("https://a.example.org/").status == 200
    [line] = httpd.log.find("MD0007")
    assert "remove SSLCertificateFile" in line.text
    httpd.obtain("a.example.org")
    served = httpd.served("a.example.org", ca=pebble.root)
    assert served.verified
    assert httpd.log.count("MD0007") == 2
    orders = len(pebble.requests("/order-plz"))
    httpd.config.clear().add("MDPrivateKeys secp256r1").md("a.example.org").http("a.example.org").https("a.example.org")
    httpd.graceful()
    assert httpd.served("a.example.org").leaf == served.leaf
    assert httpd.log.count("MD0007") == 2
    assert len(pebble.requests("/order-plz")) == orders


def test_names_with_tls_alpn_01_are_found_as_by_the_c_module() -> None:
    def case(world: World) -> Any:
        found = {}
        for mapped in (True, False):
            httpd = world.httpd()
            port = httpd.config.https_port if mapped else httpd.config.http_port
            httpd.config.add("MDCertificateAuthority https://localhost:1/dir", "MDInitialDelay 1h", f"MDPortMap https:{port}")
            for name, challenges, protocols in (
                ("unset", "", "http/1.1 acme-tls/1"),
                ("listed", "MDCAChallenges tls-alpn-01", "http/1.1 acme-tls/1"),
                ("other", "MDCAChallenges http-01", "http/1.1 acme-tls/1"),
                ("without", "MDCAChallenges tls-alpn-01", "http/1.1"),
            ):
                domain = f"{name}.example.org"
                httpd.config.md_set(domain, f"MDMember www.{domain}", *filter(None, [challenges]))
                httpd.config.https(domain, f"Protocols {protocols}", aliases=[f"www.{domain}"])
            httpd.config.md("plain.example.org").http("plain.example.org", "Protocols http/1.1 acme-tls/1")
            # Where http and https have one port, ours sees a host there without TLS.
            httpd.log.expects("MD0105", optional=True)
            found[mapped] = {name: md["proto"]["acme-tls/1"] for name, md in _stored(httpd).items()}
            httpd.stop()
        return found

    found = Oracle().both(case)
    both = {name: [f"{name}.example.org", f"www.{name}.example.org"] for name in ("unset", "listed", "other")}
    assert found["True"] == {f"{name}.example.org": both.get(name, []) for name in ("listed", "other", "plain", "unset", "without")}
    assert [name for name, names in found["False"].items() if names] == ["listed.example.org"]


def test_renewals_go_through_the_proxy_of_the_domain(httpd: Httpd, world: World) -> None:
    mine, all_others = world.recorder(), world.recorder()
    httpd.config.add("MDCertificateAuthority http://ca.invalid/dir", f"MDHttpProxy {all_others.url}")
    httpd.config.md_set("own.example.org", f"MDHttpProxy {mine.url}").http("own.example.org")
    httpd.config.md("all.example.org").http("all.example.org")
    httpd.log.expects("processing own.example.org", "processing all.example.org", "MD0080", optional=True)
    httpd.start()
    httpd.wait(lambda: mine.requests and all_others.requests, what="requests to both proxies")


def test_the_first_look_waits_for_the_initial_delay(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.add("MDInitialDelay 1h").managed("a.example.org")
    httpd.start().wait_log("AH10054")
    assert httpd.log.count("AH10055") == 0
    httpd.config.add("MDInitialDelay 0")
    httpd.graceful().obtain("a.example.org")
    assert httpd.served("a.example.org", ca=pebble.root).verified


@pytest.mark.pebble(eab={"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"})
def test_an_external_account_is_bound_from_a_file(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    hmac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    sandbox.write("eab.json", json.dumps({"kid": "kid-1", "hmac": hmac}))
    httpd.config.add("MDExternalAccountBinding eab.json").managed("a.example.org")
    httpd.start().obtain("a.example.org")
    assert httpd.served("a.example.org", ca=pebble.root).verified
    assert httpd.md_status("a.example.org")["eab"] == {"kid": "kid-1", "hmac": "***"}


@pytest.mark.parametrize("order", [["*.w.example.org", "x.w.example.org"], ["x.w.example.org", "*.w.example.org"]], ids=["wildcard first", "exact first"])
def test_a_server_name_is_matched_exactly_before_a_wildcard(order: list[str]) -> None:
    def case(world: World) -> Any:
        httpd = world.httpd()
        httpd.config.add("MDCertificateAuthority https://localhost:1/dir", "MDInitialDelay 1h", "MDMatchNames servernames")
        httpd.config.md("exact.example.org", order[0], "shared.example.org").md("other.example.org", order[1], "shared.example.org")
        httpd.config.http("x.w.example.org")
        httpd.log.expects("AH10045")
        httpd.log.expects("AH10173", "None of the ACME challenge methods", optional=True)
        httpd.start()
        alone = {md["name"]: md["watched"] for md in httpd.md_status()["managed-domains"]}
        httpd.config.http("shared.example.org")
        httpd.graceful()
        shared = {md["name"]: md["watched"] for md in httpd.md_status()["managed-domains"]}
        return alone, shared

    alone, shared = Oracle().both(case)
    exact = "exact.example.org" if order[0].startswith("x.") else "other.example.org"
    assert [name for name, watched in alone.items() if watched] == [exact]
    assert all(shared.values())
