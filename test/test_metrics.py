"""The md-metrics handler: values as openssl and the CA see them, in both formats; its document, alerts and dashboard."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness import promtool
from harness.httpd import Httpd
from harness.module import REPO
from harness.pebble import Pebble
from harness.world import World

pytestmark = pytest.mark.module("ours")

NAME = "a.example.org"
OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
DOCUMENT = (REPO / "docs/monitoring.md").read_text()


class Scrape:
    """An answer of md-metrics."""

    def __init__(self, httpd: Httpd, query: str = "") -> None:
        self.text = httpd.admin(f"/md-metrics{query}").text
        self.samples = {name: int(value) for name, value in re.findall(r"^(mod_md_\S+?(?:\{.*\})?) (-?\d+)$", self.text, re.M)}

    def of(self, name: str, **labels: str) -> int | None:
        """The value of `mod_md_<name>` with these labels."""
        text = ",".join(f'{label}="{value}"' for label, value in labels.items())
        return self.samples.get(f"mod_md_{name}{{{text}}}")

    def requests(self, ca: str = ".*", outcome: str = ".*") -> int:
        """Requests to CAs, all if not said otherwise."""
        return self._sum(rf'ca_requests_total\{{ca="{ca}",outcome="{outcome}"\}}')

    def kinds(self, kind: str = ".*", status: str = ".*") -> int:
        """The same requests, by resource and HTTP status."""
        return self._sum(rf'ca_requests_by_kind_total\{{kind="(?:{kind})",status="{status}"\}}')

    def values(self, name: str, label: str) -> set[str]:
        """All values of a label of `mod_md_<name>`."""
        return {value for sample in self.samples if sample.startswith(f"mod_md_{name}{{") for value in re.findall(rf'\b{label}="([^"]*)"', sample)}

    def _sum(self, pattern: str) -> int:
        return sum(value for name, value in self.samples.items() if re.fullmatch(f"mod_md_{pattern}", name))


def test_values_are_those_of_the_served_certificates(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.md_set(NAME, "MDPrivateKeys rsa2048 secp256r1").http(NAME).https(NAME).md_set("manual.example.org", "MDRenewMode manual")
    httpd.config.https("manual.example.org")
    httpd.start()
    before = Scrape(httpd)
    assert before.of("domain_state", domain=NAME, state="incomplete") == 1
    assert before.of("certificate_not_after_timestamp_seconds", domain=NAME, key="rsa") is None
    assert before.of("renewal_due_timestamp_seconds", domain="manual.example.org") is None
    assert before.of("domain_state", domain="manual.example.org", state="incomplete") == 1

    httpd.wait_staged(NAME)
    staged = Scrape(httpd)
    assert staged.of("staged_certificates", domain=NAME) == 2
    finished = staged.of("renewal_last_success_timestamp_seconds", domain=NAME)
    assert finished

    httpd.graceful()
    served = Scrape(httpd)
    sigalgs = {"rsa": "RSA-PSS+SHA256", "secp256r1": "ECDSA+SHA256"}
    for key, sigalg in sigalgs.items():
        leaf = httpd.served(NAME, ca=pebble.root, sigalgs=sigalg).leaf
        life = (int(leaf.not_before.timestamp()), int(leaf.not_after.timestamp()))
        names = ("certificate_not_before_timestamp_seconds", "certificate_not_after_timestamp_seconds")
        assert tuple(served.of(name, domain=NAME, key=key) for name in names) == life
        due = served.of("renewal_due_timestamp_seconds", domain=NAME)
        assert due and life[0] < due < life[1]
    states = {state: served.of("domain_state", domain=NAME, state=state) for state in ("good", "expired", "incomplete", "error")}
    assert states == {"good": 1, "expired": 0, "incomplete": 0, "error": 0}
    assert (served.of("staged_certificates", domain=NAME), served.of("renewal_errors", domain=NAME)) == (0, 0)
    assert (served.of("renewal_last_success_timestamp_seconds", domain=NAME) or 0) >= finished
    assert served.of("build_info", version=httpd.md_status()["version"]) == 1


def test_what_the_ca_suggests_is_told(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    httpd.wait(lambda: "ari" in httpd.md_status(NAME))
    scrape = Scrape(httpd)
    start, end = (scrape.of(f"ari_window_{which}_timestamp_seconds", domain=NAME) for which in ("start", "end"))
    due = scrape.of("renewal_due_timestamp_seconds", domain=NAME)
    assert start and end and due and start <= due <= end


def test_errors_and_the_next_attempt_are_told(httpd: Httpd) -> None:
    httpd.config.add("MDRetryDelay 1h").md_set(NAME, "MDCertificateAuthority https://localhost:1/dir").http(NAME).https(NAME)
    httpd.log.expects("AH10056")
    httpd.start().wait(lambda: Scrape(httpd).of("renewal_errors", domain=NAME))
    scrape = Scrape(httpd)
    assert scrape.of("renewal_errors", domain=NAME) == 1
    assert (scrape.of("renewal_next_run_timestamp_seconds", domain=NAME) or 0) > (scrape.of("renewal_due_timestamp_seconds", domain=NAME) or 0) + 1000
    assert scrape.requests("localhost:1", "no_answer") == scrape.requests("localhost:1") > 0
    assert scrape.of("renewal_last_success_timestamp_seconds", domain=NAME) is None


@pytest.mark.pebble(nonce_reject=50)
@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_all_children_tell_the_same_counts_and_a_graceful_restart_keeps_them(httpd: Httpd, pebble: Pebble) -> None:
    # Nobody asks the CA while nothing is renewed.
    httpd.config.add("MDRenewViaARI off")
    # The CA refuses every other nonce by chance: among the requests for three domains there are some of both.
    names = [NAME, "c.example.org", "d.example.org"]
    for name in names:
        httpd.config.managed(name)
    httpd.start()
    for name in names:
        httpd.wait_staged(name)
    ca = re.match(r"https://([^/]+)/", pebble.directory)
    assert ca
    httpd.wait(lambda: not httpd.renewing())
    first = Scrape(httpd)
    assert first.requests(ca[1], "success") > 15
    assert first.requests(ca[1], "bad_nonce") > 0
    assert first.requests() == first.requests(ca[1]) == first.kinds()
    assert first.kinds("order", "2xx") >= 3 and first.kinds("finalize", "2xx") == 3 == first.kinds("certificate", "2xx")
    assert first.kinds("nonce|directory|account|authorization|challenge", "2xx") >= 10 and first.kinds("other") == 0
    assert first.kinds(status="4xx") >= first.requests(ca[1], "bad_nonce")
    assert (first.of("renewals_total", outcome="success"), first.of("renewals_total", outcome="failure")) == (3, 0)
    for _ in range(30):
        assert Scrape(httpd).requests() == first.requests()

    httpd.graceful()
    assert Scrape(httpd).requests() == first.requests()
    assert Scrape(httpd).of("renewals_total", outcome="success") == 3
    httpd.config.managed("b.example.org")
    httpd.graceful().wait_staged("b.example.org")
    assert Scrape(httpd).requests(ca[1], "success") > first.requests(ca[1], "success")

    httpd.config.add("MDRenewMode manual")
    httpd.stop()
    httpd.start()
    assert Scrape(httpd).requests() == 0


def test_prometheus_takes_both_formats(httpd: Httpd, sandbox: object) -> None:
    httpd.config.managed(NAME).md_set("b.example.org", "MDMember *.b.example.org", "MDCAChallenges http-01").https("b.example.org")
    httpd.log.expects("AH10173", "AH10056", optional=True)
    httpd.start().obtain(NAME)
    text, open_metrics = httpd.admin("/md-metrics"), httpd.admin("/md-metrics", headers={"Accept": OPEN_METRICS})
    assert text.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert open_metrics.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert (text.headers["Vary"], open_metrics.headers["Vary"]) == ("Accept", "Accept")
    assert promtool.check_metrics(text.text) == ""
    assert promtool.check_open_metrics(open_metrics.text, httpd.sandbox.writable("promtool")) == ""
    assert open_metrics.text.endswith("\n# EOF\n")
    head, post = (httpd.admin("/md-metrics", method=method) for method in ("HEAD", "POST"))
    assert (head.status, head.body, post.status) == (200, b"", 501)


def test_a_server_without_domains_tells_that(lone_httpd: Httpd) -> None:
    lone_httpd.start()
    scrape = Scrape(lone_httpd)
    assert list(scrape.samples) == [f'mod_md_build_info{{version="{lone_httpd.md_status()["version"]}"}}']
    assert promtool.check_metrics(scrape.text) == ""


def test_the_document_has_each_metric_with_its_labels_and_no_other(httpd: Httpd, pebble: Pebble, world: World) -> None:
    ca = world.pki.ca().intermediate("Issuer")
    responder = world.responder(ca)
    leaf = ca.leaf("c.example.org", ocsp_url=responder.url)
    responder.says(leaf)
    httpd.config.add("MDRetryDelay 1h", "MDStapling on", "MDMessageCmd /bin/true").managed(NAME)
    httpd.config.https("c.example.org", f"SSLCertificateFile {leaf.chain_file}", f"SSLCertificateKeyFile {leaf.key_file}")
    httpd.config.md_set("b.example.org", "MDCertificateAuthority https://localhost:1/dir").http("b.example.org").https("b.example.org")
    httpd.log.expects("AH10056")
    httpd.start().obtain(NAME)
    httpd.config.md_set("d.example.org", "MDActivation live").https("d.example.org")
    httpd.graceful().wait_log("MD0036")
    httpd.wait(lambda: "ari" in httpd.md_status(NAME))
    httpd.wait(lambda: Scrape(httpd).of("renewal_errors", domain="b.example.org"))
    httpd.wait(lambda: "mod_md_ocsp_next_update" in Scrape(httpd).text)
    told: dict[str, set[str]] = {}
    scrape = Scrape(httpd)
    for name, labels in re.findall(r"^(mod_md_\w+)\{(.*)\} ", scrape.text, re.M):
        told.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    rows = re.findall(r"^\| `(mod_md_\w+)` \| (.*?) \|", DOCUMENT, re.M)
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == told
    table = DOCUMENT.split("| `outcome` | What it means |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == scrape.values("ca_requests_total", "outcome")
    for name, label, extra in (
        ("domain_state", "state", set()),
        ("stapled_certificates", "status", set()),
        ("renewals_total", "outcome", {"renewing"}),
        ("commands_total", "outcome", {"MDMessageCmd", "MDNotifyCmd", "challenge-setup"}),
    ):
        [row] = [line for line in DOCUMENT.splitlines() if line.startswith(f"| `mod_md_{name}`")]
        assert set(re.findall(r"`([\w -]+)`", row.split("|")[3])) - extra == scrape.values(name, label)
    [row] = [line for line in DOCUMENT.splitlines() if line.startswith("| `mod_md_ca_requests_by_kind_total`")]
    of_kinds = scrape.values("ca_requests_by_kind_total", "kind") | scrape.values("ca_requests_by_kind_total", "status")
    assert set(re.findall(r"`(\w+)`", row.split("|")[3])) - {"kind", "status"} == of_kinds
    states = DOCUMENT.split("| State | Key |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| [^|]+ \| `(\w+)` \|", states, re.M)) == scrape.values("domains", "state")
    assert not [sample for sample in scrape.samples if " " in sample], "no value of a label has a blank"


def test_without_domains_there_are_sums_and_as_many_series_as_the_document_says(httpd: Httpd) -> None:
    httpd.config.add("MDRetryDelay 1h", "MDMessageCmd /bin/true").managed(NAME)
    httpd.config.md_set("b.example.org", "MDCertificateAuthority https://localhost:1/dir").http("b.example.org").https("b.example.org")
    httpd.log.expects("AH10056")
    httpd.start().obtain(NAME)
    httpd.wait(lambda: "ari" in httpd.md_status(NAME))
    httpd.wait(lambda: Scrape(httpd).of("renewal_errors", domain="b.example.org"))
    httpd.wait(lambda: not httpd.renewing())
    sums, all_of_them = Scrape(httpd, "?domains=off"), Scrape(httpd)
    assert 'domain="' not in sums.text and promtool.check_metrics(sums.text) == ""
    assert (sums.of("domains", state="good"), sums.of("domains", state="no_certificate")) == (1, 1)
    assert sums.of("renewals_total", outcome="failure") == 1
    assert (sums.of("commands_total", event="renewed", outcome="success"), sums.of("commands_total", event="errored", outcome="success")) == (1, 1)
    # The counts of these may change in between.
    assert set(sums.samples) < set(all_of_them.samples)
    [of_domain] = re.findall(r"^\| domain with one certificate \| (\d+), and (\d+) with a window", DOCUMENT, re.M)
    [of_server] = re.findall(r"^\| server \| (\d+), and (\d+) with `MDMessageCmd`", DOCUMENT, re.M)
    [of_ca] = re.findall(r"^\| authority \| (\d+) \|", DOCUMENT, re.M)
    assert len([sample for sample in all_of_them.samples if f'domain="{NAME}"' in sample]) == sum(map(int, of_domain))
    assert len(sums.samples) == sum(map(int, of_server)) + 2 * int(of_ca)


def _known() -> set[str]:
    return set(re.findall(r"^\| `(mod_md_\w+)` \|", DOCUMENT, re.M))


def test_alerts_are_good_rules_and_fire_when_they_should() -> None:
    alerts, tests = REPO / "docs/alerts.yml", REPO / "test/fixtures/alerts_test.yml"
    assert promtool.check_rules(alerts) == ""
    assert promtool.run_rule_tests(tests) == ""
    names = re.findall(r"alert: (\w+)", alerts.read_text())
    assert set(names) == set(re.findall(r"alertname: (\w+)", tests.read_text())), "each is tested"
    assert set(re.findall(r"mod_md_\w+", alerts.read_text())) <= _known() | {"mod_md"}


def test_the_dashboard_asks_for_what_there_is(tmp_path: Path) -> None:
    dashboard = json.loads((REPO / "docs/grafana.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [each["query"]["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    assert len(asked) > 10
    names = {name for expression in asked for name in re.findall(r"mod_md_\w+", expression)}
    assert names <= _known()
    # As rules, so that Prometheus reads them.
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked) if "label_values" not in expression]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert promtool.check_rules(path) == ""
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


PAGES = ("/md-metrics", "/md-status/", "/server-status", "/server-status?auto")


def _all_answer(httpd: Httpd, contains: str = "") -> None:
    for page in PAGES:
        answer = httpd.admin(page)
        assert answer.status == 200 and contains in answer.text, page


def test_status_pages_work_at_any_time(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.add("MDServerStatus on", "MDInitialDelay 1h").managed(NAME)
    httpd.start()
    _all_answer(httpd, NAME)
    # While the CA is at work, at its end, and when the certificate is served.
    httpd.config.add("MDInitialDelay 0")
    httpd.graceful()

    def is_staged() -> bool:
        _all_answer(httpd, NAME)
        return bool(httpd.md_status(NAME).get("renewal", {}).get("finished"))

    httpd.wait(is_staged)
    _all_answer(httpd, NAME)
    httpd.graceful()
    _all_answer(httpd, NAME)
    pebble.stop()
    httpd.restart()
    _all_answer(httpd, NAME)


def test_status_pages_do_not_grow_the_server(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.add("MDServerStatus on", "MDRenewViaARI off").managed(NAME).managed("b.example.org")
    httpd.start().obtain(NAME, "b.example.org")

    def growth() -> int:
        """Largest growth of a child in 600 answers."""
        before = {proc.pid: memory.rss for proc, memory in zip(httpd.children(), httpd.memory()["children"], strict=True)}
        for _ in range(150):
            _all_answer(httpd)
        after = {proc.pid: memory.rss for proc, memory in zip(httpd.children(), httpd.memory()["children"], strict=True)}
        return max(after[pid] - before[pid] for pid in before if pid in after)

    # Buffers and arenas grow once. A leak of 1 KiB per answer would be 300 in each of two children, each time.
    assert any(growth() < 150 for _ in range(8))
