"""`make screenshots`: the pictures in docs/images, of a server with a domain in each state, and all of its pages in build/screenshots."""

from __future__ import annotations

import sys
from pathlib import Path

from gallery import Gallery, every_state
from harness.browser import DESKTOP, PHONE, TABLET, Browser, View
from harness.module import Missing
from harness.world import World

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"

ALL = Path(__file__).resolve().parent.parent / "build" / "screenshots"

PICTURES = (("md-page", View(1280, height=860)), ("md-page-phone", View(PHONE)), ("md-page-dark", View(PHONE, dark=True)))
PAGES = {"list": "", "failing": "?state=failing", "domain": "/failing.example.org", "two-keys": "/shop.example.org"}
LOOKS = {"light": {}, "dark": {"dark": True}, "print": {"paper": True}}


def main() -> int:
    try:
        world = World("screenshots")
    except Missing as missing:
        print(f"screenshots: {missing}", file=sys.stderr)
        return 1
    try:
        gallery = every_state(Gallery(world))
        gallery.open()
        browser, page = Browser(world.sandbox.root / "browser"), gallery.page()
        IMAGES.mkdir(exist_ok=True)
        for name, view in PICTURES:
            browser.picture(page, IMAGES / f"{name}.png", view)
            print(IMAGES / f"{name}.png")
        ALL.mkdir(parents=True, exist_ok=True)
        pages = {f"md-page-{name}": gallery.page(behind) for name, behind in PAGES.items()} | {"server-status": gallery.section()}
        for name, page in pages.items():
            for width in (PHONE, TABLET, DESKTOP):
                for look, how in LOOKS.items():
                    browser.picture(page, ALL / f"{name}-{width}-{look}.png", View(width, **how), whole=True)
        print(f"{len(pages) * 9} pictures in {ALL}")
    finally:
        world.close()
        world.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
