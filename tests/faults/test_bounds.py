"""A refusal is quick, and takes little memory, however much the file asks for."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import soundfile

from pipelines.closure import ROOT
from tests.faults import mp4
from tests.faults.films import film, hum, noise, small, sound_file

ALLOWED_MB = 400
"""Address space beyond what the process has mapped after a first film."""


def _pcm_bomb() -> bytes:
    """One chunk of uncompressed sound that claims 4 thousand million samples."""
    data = sound_file("mov", "pcm_s16le", sound_format="s16")
    run = mp4.full_box(b"stsc", mp4.numbers(1, 1, 0xFFFFFFF0, 1))
    return mp4.put(data, (*mp4.TABLES, b"stsc"), run)


def _flac_bomb(total: bool) -> bytes:
    """Fifty minutes of silence in a few kilobytes; the header may be silent on it too."""
    buffer = io.BytesIO()
    silence = np.zeros(8000 * 3000, np.int16)
    soundfile.write(buffer, silence, 8000, format="FLAC", subtype="PCM_16", compression_level=1.0)
    data = bytearray(buffer.getvalue())
    if not total:
        data[8 + 13] &= 0xF0  # 36 bits that count the samples
        data[8 + 14 : 8 + 18] = bytes(4)
    return bytes(data)


def _endless_webm() -> bytes:
    """A film of 25 s whose header tells no duration, as a browser records it."""
    data = film(noise(250, (16, 16)), "libvpx", "webm", fps=10, options={}, muxer={"live": "1"})
    assert b"\x44\x89\x88" not in data
    return data


BOMBS: dict[str, tuple[Callable[[], bytes], dict[str, str]]] = {
    "index.mp4": (
        lambda: mp4.index_of(small(), 100_000_000),
        dict.fromkeys(("inspect", "video", "sound"), "too_large"),
    ),
    "fragment.mp4": (lambda: mp4.fragment_of(small(), 100_000_000), {"inspect": "too_large"}),
    "edits.mp4": (lambda: mp4.edits_of(small(), 200_000), {"inspect": "too_large"}),
    "pcm.mov": (_pcm_bomb, {"inspect": "too_large", "sound": "too_large"}),
    "packed.mp4": (
        lambda: mp4.put(small(), (b"moov",), mp4.box(b"moov", mp4.box(b"cmov"))),
        {"inspect": "refused_media", "video": "refused_media"},
    ),
    "boxes.mp4": (
        lambda: mp4.box(b"ftyp", b"isom", bytes(4)) + mp4.box(b"free") * 250_000,
        {"inspect": "too_large"},
    ),
    "wide.mp4": (
        lambda: mp4.parameter_sets(small(), 100_000, 64),
        {"inspect": "too_large", "video": "too_large"},
    ),
    "disguise.mp4": (
        lambda: mp4.frame_size(mp4.parameter_sets(small(), 16_384, 8192), 64, 64),
        {"inspect": "too_large", "video": "too_large"},
    ),
    "pixels.mp4": (
        lambda: mp4.aspect(small(), 32_000, 1),
        {"inspect": "too_large", "video": "too_large"},
    ),
    "frames.mp4": (
        lambda: film(noise(5200, (16, 16)), fps=240, sound=hum(2)),
        {"inspect": "too_large", "video": "too_large"},
    ),
    "silence.flac": (lambda: _flac_bomb(True), {"inspect": "no_video", "sound": "too_long"}),
    "untold.flac": (lambda: _flac_bomb(False), {"inspect": "no_video", "sound": "too_long"}),
    "untold.webm": (_endless_webm, {"video": "too_long"}),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    folder = tmp_path_factory.mktemp("bombs")
    for name, (make, _) in BOMBS.items():
        (folder / name).write_bytes(make())
    command = [sys.executable, "-m", "tests.faults.bounded", str(ALLOWED_MB)]
    done = subprocess.run(
        [*command, *(str(folder / name) for name in BOMBS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["file"]: line for line in lines}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_little_memory_and_time(
    outcomes: dict[str, dict[str, object]], name: str
) -> None:
    outcome = outcomes[name]
    _, expected = BOMBS[name]
    assert {key: outcome[key] for key in expected} == expected
    assert float(str(outcome["growth_mb"])) < 60, outcome
    assert float(str(outcome["seconds"])) < 3, outcome


def test_the_index_bomb_is_one() -> None:
    """Without the look at its boxes the same file, a twentieth as greedy, costs what it says."""
    script = (
        "import av, io, sys\n"
        "from tests.faults.bounded import peak_mb\n"
        "data = io.BytesIO(sys.stdin.buffer.read())\n"
        "before = peak_mb()\n"
        "av.open(data).close()\n"
        "print(peak_mb() - before)\n"
    )
    data = mp4.index_of(small(), 5_000_000)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        input=data,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert float(done.stdout) > 100
