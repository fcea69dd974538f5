"""`make image-layout`: runs the container image, unpacked in a folder, as users that a container may have, and gets certificates.

The servers of this script and of the image are in a network of their own, in which ports 80 and 443 are free.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from harness.http import request
from harness.pebble import Pebble
from harness.process import Service
from harness.wait import TimedOut, wait
from harness.world import World

PREFIX = Path("usr/local/apache2")
# Without these rights a container's process can still change its root and its user, as the container's runtime does before.
NO_RIGHTS = ["--bounding-set", "-all,+sys_chroot,+setuid,+setgid"]
USERS = {
    "any user id, no capability": ("1234:0", NO_RIGHTS),
    "root": ("0:0", []),
}
# httpd runs as root without that right, but the store cannot be given to its user.
REFUSED = ("0:0", ["--bounding-set", "-chown"])
SITE = """\
MDCertificateAuthority {directory}
MDCACertificateFile conf/ca.pem
MDCertificateAgreement accepted
MDContactEmail admin@example.org
MDomain {name}
<VirtualHost *:80>
    ServerName {name}
</VirtualHost>
<VirtualHost *:443>
    ServerName {name}
    SSLEngine on
</VirtualHost>
"""


def main(image: Path) -> int:
    with_trouble = [words for words, (user, rights) in USERS.items() if not _serves(image, words, user, rights)]
    with_trouble += [] if _serves(image, "root without CAP_CHOWN", *REFUSED) is None else ["root without CAP_CHOWN"]
    print("; ".join(with_trouble) + ": FAILED" if with_trouble else "The image serves a certificate as each of these users.")
    return len(with_trouble)


def _serves(image: Path, words: str, user: str, rights: list[str]) -> bool | None:
    """Whether the image serves a certificate and says how it is; `None` if it ends and names the right that it needs."""
    world = World("image", own_network=True)
    # As in a container's network.
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    try:
        return _run(world, image, words, user, rights)
    finally:
        world.close()
        world.remove()


def _run(world: World, image: Path, words: str, user: str, rights: list[str]) -> bool | None:
    pebble, name = world.pebble(), "image.example.org"
    server = image / PREFIX
    shutil.rmtree(server / "md")
    (server / "md").mkdir()
    (server / "md").chmod(0o771)
    (server / "conf/sites").mkdir(exist_ok=True)
    (server / "conf/sites/site.conf").write_text(SITE.format(directory=pebble.directory, name=name))
    shutil.copy(pebble.trust, server / "conf/ca.pem")
    log = world.sandbox.logs / "image.log"
    log.touch()
    os.chown(log, int(user.split(":")[0]), 0)
    inside = ["chroot", f"--userspec={user}", "--groups=", str(image)]
    httpd = Service(["setpriv", *rights, *inside, f"/{PREFIX}/bin/httpd", "-DFOREGROUND"], log)
    begin = time.monotonic()
    httpd.start()
    try:
        with contextlib.suppress(TimedOut):
            wait(lambda: not httpd.running or _is_trusted(pebble, name), 60, f"a certificate as {words}")
        if httpd.running and not _is_trusted(pebble, name):
            print(f"{words}: no certificate\n{log.read_text()}")
            return False
        if not httpd.running:
            print(f"{words}: httpd ended\n{log.read_text()}")
            return None if "AH10082" in log.read_text() and "CAP_CHOWN" in log.read_text() else False
        print(f"{words}: trusted after {time.monotonic() - begin:.1f} s")
        healthy = subprocess.run([*inside, f"/{PREFIX}/bin/is-healthy"]).returncode == 0
        print(f"{words}: the health check says {'healthy' if healthy else 'UNHEALTHY'}")
    finally:
        httpd.stop()
    sick = subprocess.run([*inside, f"/{PREFIX}/bin/is-healthy"], stderr=subprocess.DEVNULL).returncode != 0
    print("".join(line for line in log.read_text().splitlines(keepends=True) if "[md:" in line and ":notice]" not in line))
    return healthy and sick


def _is_trusted(pebble: Pebble, name: str) -> bool:
    try:
        return request(f"https://{name}/", 443, ca=pebble.root).status == 200
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
