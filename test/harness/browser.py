"""Headless Chromium: pages as people see them, and as axe-core judges them."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .module import BUILD, Missing

PHONE, TABLET, DESKTOP = 390, 800, 1400
"""CSS pixels of common widths."""
AXE = BUILD / "axe" / "axe.min.js"
_LOOK = """(() => {
const wide = document.documentElement.clientWidth;
const out = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > wide + 1);
return {
  text: document.body.innerText, width: wide, needed: document.scrollingElement.scrollWidth,
  out: out.map(e => e.tagName + "." + e.className)
};
})()"""
# Nobody touches paper.
_JUDGE = """axe.run(document, {
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  rules: {"target-size": {enabled: !matchMedia("print").matches}},
}).then(found => found.violations.map(each => each.id + ": " + each.help + ": " + each.nodes[0].html + " " + each.nodes[0].failureSummary))"""


@dataclass(frozen=True)
class View:
    """How a page is looked at: the width of the window, light or dark, on a screen or on paper."""

    width: int
    dark: bool = False
    paper: bool = False
    height: int = 900


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
        with self._open() as tab:
            return [Seen(**tab.show(page, View(width)).run(_LOOK)) for page, width in views]

    def judge(self, page: str, *views: View) -> dict[View, list[str]]:
        """What axe-core finds wrong with a document in each view."""
        if not AXE.exists():
            raise Missing("axe-core is missing: run `make deps`; it needs npm")
        with self._open() as tab:
            return {view: found for view in views if (found := tab.show(page, view).load(AXE).run(_JUDGE))}

    def picture(self, page: str, to: Path, view: View, whole: bool = False) -> None:
        """A PNG of a document in a view: of the window, or of the whole page."""
        with self._open() as tab:
            tab.show(page, view)
            data = tab.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
            to.write_bytes(base64.b64decode(data))

    @contextmanager
    def _open(self) -> Iterator[_Tab]:
        # Its sandbox cannot be had by root; it gets pages of ours only.
        usual = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-extensions", "--remote-debugging-pipe",
                 "--disable-background-networking", "--no-first-run", f"--user-data-dir={self._folder / 'profile'}"]
        asks, answers = os.pipe(), os.pipe()
        # It reads at 3 and writes at 4.
        command = ["bash", "-c", f'exec "$@" 3<&{asks[0]} 4>&{answers[1]}', "bash", self._program, *usual]
        env = {**os.environ, "HOME": str(self._folder)}
        with (self._folder / "chromium.log").open("wb") as log:
            process = subprocess.Popen(command, pass_fds=(asks[0], answers[1]), stdout=log, stderr=log, env=env)
        os.close(asks[0])
        os.close(answers[1])
        with os.fdopen(asks[1], "wb", 0) as to, os.fdopen(answers[0], "rb") as back:
            try:
                tab = _Tab(to, back, self._folder)
                yield tab
                tab.end()
            finally:
                # It ends when nobody is left to ask, too.
                to.close()
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


class _Tab:
    """A tab, spoken to in the protocol of Chromium's developer tools."""

    def __init__(self, to: Any, back: Any, folder: Path) -> None:
        self._to, self._back, self._folder = to, back, folder
        self._count, self._session = 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def show(self, page: str, view: View) -> _Tab:
        """Lay a document out."""
        file = self._folder / "page.html"
        file.write_text(page)
        features = [{"name": "prefers-color-scheme", "value": "dark" if view.dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media="print" if view.paper else "screen", features=features)
        self.call("Emulation.setDeviceMetricsOverride", width=view.width, height=view.height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=file.as_uri())
        while self._next().get("method") != "Page.loadEventFired":
            pass
        return self

    def load(self, script: Path) -> _Tab:
        """Run the script of a file in the page."""
        self.call("Runtime.evaluate", expression=script.read_text())
        return self

    def run(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"]["value"]

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the browser or the tab."""
        self._count += 1
        session = {"sessionId": self._session} if self._session else {}
        self._to.write(json.dumps({"id": self._count, "method": method, "params": params, **session}).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def end(self) -> None:
        self._session = ""
        self.call("Browser.close")

    def _next(self) -> dict[str, Any]:
        said = bytearray()
        while (byte := self._back.read(1)) != b"\0":
            assert byte, (self._folder / "chromium.log").read_text()
            said += byte
        message: dict[str, Any] = json.loads(said)
        return message
