"""`make screenshots`: the pictures in docs/images, of a server with a domain in each state."""

from __future__ import annotations

import sys
from pathlib import Path

from gallery import Gallery, every_state
from harness.browser import DESKTOP, PHONE, Browser
from harness.module import Missing
from harness.world import World

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"

PICTURES = (("md-page", DESKTOP, 860, False), ("md-page-phone", PHONE, 900, False), ("md-page-dark", PHONE, 900, True))


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
        for name, width, height, dark in PICTURES:
            browser.picture(page, IMAGES / f"{name}.png", width, height, dark)
            print(IMAGES / f"{name}.png")
    finally:
        world.close()
        world.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
