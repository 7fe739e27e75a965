"""Transport streams that ffmpeg makes arrive so that ffmpeg can decode them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.relay.support import freePort
from tests.tools.support import Tool, isOfRate, receiving

needsFFmpeg = pytest.mark.skipif(
    not (shutil.which("ffmpeg") and shutil.which("ffprobe")) and "CI" not in os.environ,
    reason="needs ffmpeg and ffprobe",
)
pytestmark = [needsFFmpeg, pytest.mark.slow]


def made(path: Path, *options: str) -> Path:
    """A transport stream of four seconds, with picture and sound."""
    sources = ["-f", "lavfi", "-i", "testsrc2=d=4:s=320x240:r=25"]
    sources += ["-f", "lavfi", "-i", "sine=d=4"]
    codecs = ["-c:v", "mpeg2video", "-b:v", "800k", "-c:a", "mp2", "-f", "mpegts"]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *sources, *codecs, *options, str(path)],
        check=True,
        timeout=60,
    )
    return path


def probed(path: Path) -> dict[str, str]:
    """What ffprobe finds in a file."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-show_format", "-of", "json", str(path)],
        check=True,
        timeout=60,
        capture_output=True,
    )
    found: dict[str, str] = json.loads(done.stdout)["format"]
    return found


@pytest.mark.parametrize("scheme", ["udp", "rtp"])
@pytest.mark.parametrize("options", [["-muxrate", "2M"], []], ids=["constant", "variable"])
def test_itIsDecodedWithoutAnError(tmp_path: Path, scheme: str, options: list[str]) -> None:
    """Sent at the rate of its PCRs, to within 1 %, it arrives whole, and ffmpeg decodes it all."""
    source, arrived = made(tmp_path / "a.ts", *options), tmp_path / "b.ts"
    url = f"udp://127.0.0.1:{freePort()}"
    with receiving(tmp_path, "--from", url, f"--output={arrived}", "--silence=0.5") as receiver:
        to = url.replace("udp", scheme)
        with Tool(tmp_path, "groupsock-send", "--to", to, f"--file={source}") as sender:
            assert sender.end() == 0, sender.said
        assert receiver.end() == 0, receiver.said
        result = receiver.result
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-xerror", "-i", str(arrived), "-f", "null", "-"],
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert probed(arrived)["duration"] == probed(source)["duration"]
    if options:
        overhead = 1328 / 1316 if scheme == "rtp" else 1
        assert isOfRate(sender.result, 2e6 * overhead)
    errors = ("continuityErrors", "syncLosses", "transportErrors", "crcErrors")
    assert [result["ts"][each] for each in errors] == [0] * 4
