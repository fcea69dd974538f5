"""promtool: what Prometheus itself says of metrics and rules."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from .module import REPO, Missing

_PROGRAM = REPO / "build/prometheus/promtool"


def check_metrics(text: str) -> str:
    """Complaints about metrics in the text format 0.0.4; empty if there are none."""
    return _run("check", "metrics", stdin=text)


def check_open_metrics(text: str, directory: Path) -> str:
    """Complaints about metrics in OpenMetrics. Prometheus reads such a file if each sample has a time."""
    dated = re.sub(r"^([^#\n].*)$", r"\1 1700000000", text, flags=re.M)
    source = directory / "metrics.om"
    source.write_text(dated)
    return _run("tsdb", "create-blocks-from", "openmetrics", "--quiet", str(source), str(directory / "blocks"))


def check_rules(rules: Path) -> str:
    """Complaints about a file of rules."""
    return _run("check", "rules", "--lint-fatal", str(rules))


def run_rule_tests(tests: Path) -> str:
    """Failures in a file of tests for rules."""
    return _run("test", "rules", str(tests))


def _run(*args: str, stdin: str = "") -> str:
    if not _PROGRAM.exists():
        raise Missing("promtool is missing: run `make deps`")
    done = subprocess.run([_PROGRAM, *args], input=stdin, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    return said or f"exit code {done.returncode}" if done.returncode else ""
