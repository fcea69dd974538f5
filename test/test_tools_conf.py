"""Files in conf/ load: the files for mods-available and the examples, read by `httpd -t` with the built module."""
import re
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
CONF = TOP / "conf"
SERVER = """ServerRoot {root}
ServerName localhost
PidFile {root}/httpd.pid
ErrorLog {root}/error.log
Listen 80
Listen 443
Listen 8080
Listen 8443
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_host_module {modules}/mod_authz_host.so
LoadModule ssl_module {modules}/mod_ssl.so
<IfModule !watchdog_module>
    LoadModule watchdog_module {modules}/mod_watchdog.so
</IfModule>
{load}
{text}
"""


def apxs(name):
    return subprocess.run(["apxs", "-q", name], check=True, capture_output=True, text=True).stdout.strip()


def load_line():
    """The line of md_rs.load, with the module where the build leaves it."""
    return re.sub(r"\S+/mod_md_rs\.so", str(TOP / "build/mod_md.so"), (CONF / "md_rs.load").read_text())


@pytest.fixture
def configtest(tmp_path):
    """Exit code and complaints of `httpd -t` for a text on top of the smallest server."""
    def run(text):
        path = tmp_path / "httpd.conf"
        path.write_text(SERVER.format(root=tmp_path, modules=apxs("LIBEXECDIR"), load=load_line(), text=text))
        program = apxs("SBINDIR") + "/" + apxs("PROGNAME")
        done = subprocess.run([program, "-t", "-f", path], capture_output=True, text=True)
        return done.returncode, done.stderr
    return run


@pytest.mark.parametrize("example", sorted(CONF.glob("example-*.conf")), ids=lambda path: path.stem)
def test_example_loads(configtest, example, tmp_path):
    text = example.read_text().replace("/var/www/html", str(tmp_path))
    assert configtest(text) == (0, "Syntax OK\n")


def test_md_rs_conf_loads_also_with_all_its_lines_switched_on(configtest, tmp_path):
    text = (CONF / "md_rs.conf").read_text().replace("/var/www/html", str(tmp_path))
    assert configtest(text) == (0, "Syntax OK\n")
    assert configtest(re.sub(r"^#(?=MD|Define)", "", text, flags=re.M)) == (0, "Syntax OK\n")


def test_md_rs_conf_leaves_activation_as_it_is_for_whoever_switches_from_the_c_module(configtest):
    """Only the three lines of a new installation bring `MDActivation live`, so that the file is complete with them."""
    text = (CONF / "md_rs.conf").read_text()
    assert len(re.findall(r"^#(?:MDCert|MDContact|Define)", text, re.M)) == 3
    assert "MDActivation" not in re.sub(r"^<IfDefine MD_FIRST_DOMAIN>.*?^</IfDefine>", "", text, flags=re.M | re.S)


def test_a_wrong_directive_is_found_this_way(configtest):
    code, complaints = configtest("MDRenewMode sometimes")
    assert code != 0
    assert "sometimes" in complaints


def test_a2enmod_refuses_both_modules_at_once():
    assert "# Conflicts: md\n" in (CONF / "md_rs.load").read_text()
