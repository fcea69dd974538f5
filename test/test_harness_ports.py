"""The harness: ports and waiting."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.ports import Ports, accepts, is_free
from harness.wait import TimedOut, wait


def test_ports_of_two_processes_are_of_different_blocks() -> None:
    mine = Ports.mine().block
    code = "from harness.ports import Ports; print(Ports.mine().take())"
    other = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert int(other.stdout) not in mine


def test_ports_in_use_are_not_handed_out() -> None:
    ports = Ports.mine()
    port = ports.take()
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        assert port not in {ports.take() for _ in ports.block[:-1]}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as used:
        used.bind(("127.0.0.1", port))
        assert not is_free(port)


def test_ports_tell_whether_somebody_accepts() -> None:
    port = Ports.mine().take()
    assert not accepts(port)
    with socket.create_server(("127.0.0.1", port)):
        assert accepts(port)


def test_wait_returns_the_answer_and_ends_a_hopeless_wait() -> None:
    answers = iter([0, "", None, "there"])
    assert wait(lambda: next(answers)) == "there"
    with pytest.raises(TimedOut, match="the impossible"):
        wait(lambda: False, limit=0.05, what="the impossible")
