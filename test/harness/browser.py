"""Headless Chromium: pages as people see them."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .module import Missing

PHONE = 390
"""CSS pixels of a common phone's width."""
DESKTOP = 1280
_LEAST = 500
"""Chromium's windows are at least so wide: what is narrower is shown in a frame."""
_LOOK = """
<script>
const wide = document.documentElement.clientWidth;
const out = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > wide + 1);
parent.postMessage(JSON.stringify({
  text: document.body.innerText, width: wide, needed: document.scrollingElement.scrollWidth,
  out: out.map(e => e.tagName + "." + e.className)
}), "*");
</script>
"""
_FRAMES = """<!DOCTYPE html><meta charset="utf-8"><style>body {{ margin: 0 }} iframe {{ border: 0; display: block }}</style>
<script>
const seen = [];
onmessage = e => {{
  seen[[...document.querySelectorAll("iframe")].findIndex(f => f.contentWindow === e.source)] = JSON.parse(e.data);
  document.body.dataset.seen = JSON.stringify(seen);
}}
</script>
<body>{frames}</body>
"""


@dataclass(frozen=True)
class Seen:
    """A page in a window: its visible text, the window's width, the width that the page needs, elements that stick out."""

    text: str
    width: int
    needed: int
    out: list[str]


class Browser:
    """Runs Chromium with a profile and documents of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        if program is None:
            raise Missing("Chromium is missing: run `make deps`, or install chromium")
        self._program, self._folder = program, folder
        folder.mkdir(exist_ok=True)

    def look(self, *views: tuple[str, int]) -> list[Seen]:
        """Lay out each document (its HTML) in a window of its width."""
        # Its clock runs on when there is nothing left to do: then all frames have told.
        dom = self._run("--virtual-time-budget=10000", "--dump-dom", self._framed(*((page + _LOOK, width, 900) for page, width in views)))
        found = re.search(r'data-seen="([^"]*)"', dom)
        assert found, dom
        said: list[dict[str, Any]] = json.loads(html.unescape(found[1]))
        return [Seen(**each) for each in said]

    def picture(self, page: str, to: Path, width: int, height: int, dark: bool = False) -> None:
        """A PNG of a document as it is in a window of this size."""
        scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
        self._run(f"--screenshot={to}", self._framed((page, width, height)), *scheme, f"--window-size={width},{height}")
        assert to.exists(), to

    def _framed(self, *views: tuple[str, int, int]) -> str:
        """The URL of a page that has these documents in frames of their widths and heights."""
        outer, frames = self._folder / "frames.html", ""
        for number, (page, width, height) in enumerate(views):
            inner = self._folder / f"page-{number}.html"
            inner.write_text(page)
            frames += f'<iframe src="{inner.name}" width="{width}" height="{height}"></iframe>'
        outer.write_text(_FRAMES.format(frames=frames))
        return outer.as_uri()

    def _run(self, *args: str) -> str:
        # Its sandbox cannot be had by root; it gets pages of ours only.
        usual = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-extensions",
                 "--disable-background-networking", "--no-first-run", f"--user-data-dir={self._folder / 'profile'}"]
        env = {**os.environ, "HOME": str(self._folder)}
        command = [self._program, *usual, *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout
