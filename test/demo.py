"""`make demo`: a real httpd gets a certificate from a private ACME server and serves it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # main() imports it, where the absence of a package is explained.
    from harness.world import World

DOMAIN = "demo.example.org"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the servers running")
    keep: bool = parser.parse_args().keep
    if os.geteuid() != 0:
        return _fail("httpd has to be started as root to run as www-data: run it with sudo")
    try:
        from harness.module import Missing
        from harness.world import World
    except ModuleNotFoundError as missing:
        return _fail(f"the Python package {missing.name} is missing: run `make demo`, or use build/venv/bin/python")
    try:
        world = World("demo")
        try:
            _show(world, keep)
        except BaseException:
            world.close()
            raise
    except Missing as missing:
        world.remove()
        return _fail(str(missing))
    except AssertionError as failure:
        return _fail(f"{str(failure).splitlines()[0]}; the logs are in {world.sandbox.logs}")
    except KeyboardInterrupt:
        world.remove()
        return _fail("interrupted")
    return 0


def _show(world: World, keep: bool) -> None:
    print(f"Module  {world.module.path}")
    pebble = world.pebble()
    print(f"Pebble  {pebble.directory}, validates at port {pebble.http_port}")
    httpd = world.httpd(pebble)
    httpd.config.managed(DOMAIN)
    begin = time.monotonic()
    httpd.start()
    before = httpd.get(f"https://{DOMAIN}/").status
    print(f"httpd   started with `MDomain {DOMAIN}`: https answers {before}, there is no certificate yet")
    httpd.wait_staged(DOMAIN)
    print(f"        certificate obtained over http-01, {time.monotonic() - begin:.1f} s after the start")
    httpd.graceful()
    page = httpd.get(f"https://{DOMAIN}/", ca=pebble.root)
    assert page.status == 200 and page.certificate, f"the page answers {page.status} after the restart"
    print(f"        graceful restart; https answers {page.status}, verified against Pebble's root\n")
    certificate = page.certificate
    print(f"Certificate of https://{DOMAIN}/")
    print(f"  names   {', '.join(certificate.names)}")
    print(f"  issuer  {certificate.issuer}")
    print(f"  valid   {certificate.not_before:%Y-%m-%d %H:%M} to {certificate.not_after:%Y-%m-%d %H:%M} UTC")
    print(f"  key     {certificate.key_type}, serial {certificate.serial}")
    if keep:
        port = httpd.config.https_port
        print("\nStill running. Look at it:")
        print(f"  curl --cacert {pebble.root} --resolve {DOMAIN}:{port}:127.0.0.1 https://{DOMAIN}:{port}/")
        print(f"  curl http://127.0.0.1:{httpd.config.admin_port}/md-status/")
        print(f"  less {world.sandbox.error_log}")
        print("Stop it:")
        print(f"  kill {' '.join(map(str, world.pids))}; rm -r {world.sandbox.root}")
        return
    notes = world.complaints()
    world.close()
    for note in notes:
        print(f"\nNote    {note}")
    if not notes:
        world.remove()
    logs = f" The logs are in {world.sandbox.logs}." if notes else ""
    print(f"\nStopped; nothing is left running.{logs} `make demo KEEP=1` leaves it up.")


def _fail(text: str) -> int:
    print(f"demo: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
