"""The whole switch of a grown server: from the C module to ours and back, on one store."""

from __future__ import annotations

import pytest

from harness.a2md import A2md
from harness.httpd import Httpd
from harness.module import Module
from harness.pebble import Pebble
from harness.pki import Pki
from harness.sandbox import Sandbox
from harness.world import World

WEB, SHOP, IDN = "web.example.org", "shop.example.org", "xn--mller-kva.example.org"
SPELLED = "müller.example.org"
HOOK = """#!/bin/sh
[ "$1" = renewed ] || exit 0
touch {flag}; while [ -e {flag} ]; do sleep 0.1; done
sleep 1
echo "done $2" >>{told}
"""


def _configure(httpd: Httpd, files: list[str], hook: str, idn: str, keys: str = "RSA") -> None:
    httpd.config.clear().add(f"MDMessageCmd {hook}", f"MDPrivateKeys {keys}")
    httpd.config.md(WEB).http(WEB).https(WEB, *files)
    httpd.config.md_set(SHOP, "MDRenewMode manual").http(SHOP).https(SHOP)
    # Clients send A-labels, by which httpd does not find a host that is written in Unicode.
    aliases = [IDN] if idn != IDN else []
    httpd.config.md(IDN).http(idn, aliases=aliases).https(idn, aliases=aliases)


@pytest.mark.pebble(nonce_reject=0)
def test_the_whole_switch_and_back(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, pki: Pki, world: World) -> None:
    proxy = world.proxy()
    writable = sandbox.writable("hook")
    flag, told = writable / "flag", writable / "told"
    hook = sandbox.write("hook.sh", HOOK.format(flag=flag, told=told))
    hook.chmod(0o755)
    old = pki.ca("Old CA").leaf(WEB, key="rsa2048")
    files = [f"SSLCertificateFile {old.cert_file}", f"SSLCertificateKeyFile {old.key_file}"]
    httpd.env |= {"https_proxy": proxy.url, "no_proxy": ""}
    cron = A2md(sandbox, pebble)

    def reloads(*names: str) -> None:
        """Reload for each news, as the hook asks for; it ends afterwards, once per domain."""
        before = told.read_text().splitlines() if told.exists() else []

        def finished() -> bool:
            if flag.exists():
                httpd.graceful(draining=True)
                flag.unlink()
            lines = told.read_text().splitlines() if told.exists() else []
            return sorted(lines[len(before) :]) == sorted(f"done {name}" for name in names)

        httpd.wait(finished, what=f"hooks of {names}")
        httpd.graceful()

    def served() -> dict[str, str]:
        answers = {name: httpd.served(name, ca=pebble.root) for name in (WEB, SHOP, IDN)}
        assert [name for name, answer in answers.items() if not answer.verified] == []
        return {name: answer.leaf.serial for name, answer in answers.items()}

    def by_cron() -> None:
        assert cron("drive", SHOP).code == 0
        httpd.graceful()

    # Stopped while it asks for ARI, the C module reports that as a failure.
    httpd.log.expects("Unsuccessful in contacting ACME server", "setup ACME communications", optional=True)

    # With the C module all get their certificates; the file is left in the configuration.
    _configure(httpd, files, str(hook), IDN)
    httpd.use(Module.named("system")).start()
    reloads(WEB, IDN)
    by_cron()
    first, asked = served(), len(proxy.tunnels)
    assert asked
    httpd.stop()

    # Ours serves the same, asks by the same proxy, and renews for other keys: by itself, and by cron.
    _configure(httpd, files, str(hook), SPELLED)
    # mod_ssl compares certificates with ServerName as it is written.
    httpd.log.expects("AH01909", optional=True)
    httpd.use(Module.named("ours")).start()
    assert served() == first
    _configure(httpd, files, str(hook), SPELLED, "secp384r1")
    httpd.graceful()
    reloads(WEB, IDN)
    by_cron()
    second = served()
    assert not set(second.values()) & set(first.values())
    assert len(proxy.tunnels) > asked
    accounts = sandbox.account_ids()
    httpd.stop()

    # And back.
    _configure(httpd, files, str(hook), IDN, "secp384r1")
    httpd.use(Module.named("system")).start()
    assert served() == second
    assert sandbox.account_ids() == accounts
