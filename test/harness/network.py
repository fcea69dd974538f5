"""A network of loopback addresses only, where every port is free: authorities that validate at ports 80 and 443 need one."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from pathlib import Path

from .module import Missing
from .sandbox import Sandbox

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_LIBC = ctypes.CDLL(None, use_errno=True)
# Nothing is mounted for anybody else, and what is mounted goes with the program.
_SEE = """
for file in resolv.conf nsswitch.conf; do
    [ ! -e "/etc/$file" ] || mount --bind "$0/$file" "/etc/$file" || exit
done
exec "$@"
"""


class Network:
    """A network namespace that this thread enters, with all that the thread starts; `leave()` goes back."""

    def __init__(self) -> None:
        # In a plain chroot this fails, as its root is no mount point.
        tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
        if tried.returncode != 0:
            raise Missing(f"this machine allows no mount namespace ({tried.stderr.strip()})")
        self._before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        if _LIBC.unshare(_CLONE_NEWNET) != 0:
            reason = os.strerror(ctypes.get_errno())
            os.close(self._before)
            raise Missing(f"this machine allows no network namespace ({reason}): a container has to be privileged")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))

    def leave(self) -> None:
        """Returns this thread to the network that it came from."""
        done = _LIBC.setns(self._before, _CLONE_NEWNET)
        os.close(self._before)
        assert done == 0, os.strerror(ctypes.get_errno())


def asking(sandbox: Sandbox, command: list[str]) -> list[str]:
    """The command with port 53 of 127.0.0.1 as its DNS, whatever the machine uses."""
    folder = Path(sandbox.write("etc/resolv.conf", "nameserver 127.0.0.1\n")).parent
    sandbox.write("etc/nsswitch.conf", "hosts: files dns\n")
    return ["unshare", "--mount", "sh", "-c", _SEE, str(folder), *command]
