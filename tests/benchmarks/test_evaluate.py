"""The clips that `benchmarks/evaluate.py` measures, and what it says where something is missing."""

from pathlib import Path

import pytest

from benchmarks.evaluate import Stopwatch, main
from benchmarks.evaluating import clips
from dimitra.media.audio import read_audio
from dimitra.media.container import probe
from dimitra.media.mp4 import encode_mp4
from dimitra.shards import write_shard
from tests.evaluation.films import noise, picture

ROOT = Path(__file__).parents[2]


def test_clips_of_a_run_are_its_crops_and_videos(tmp_path: Path) -> None:
    film = encode_mp4([picture()] * 2)
    ids = ("a", "b", "c")
    made = {"hp.mp4": film + b"h", "no_hp.mp4": film + b"n"}
    for number, own in enumerate((ids[:2], ids[2:])):
        name = f"0000{number}.tar"
        crops = {"mp4": film, "flac": noise(2)}
        write_shard(tmp_path / "data/crops" / name, dict.fromkeys((*own, "z"), crops))
        write_shard(tmp_path / "data/videos" / name, dict.fromkeys(own, made))
    assert clips.has_run(tmp_path)
    assert [one.clip for one in clips.of_run(tmp_path, 5, tmp_path / "f")] == ["a", "b", "c"]
    [first, second] = clips.of_run(tmp_path, 2, tmp_path / "g")
    assert (first.clip, second.clip) == ("a", "b")
    assert first.reference.read_bytes() == film
    assert second.generated["no_hp"].read_bytes() == film + b"n"
    assert first.sound is not None
    assert len(read_audio(first.sound)) == 2 * 640


def test_the_committed_corpus_serves_where_there_is_no_run(tmp_path: Path) -> None:
    assert not clips.has_run(tmp_path)
    [task] = clips.of_corpus(1, tmp_path, ROOT)
    films = (task.reference, *task.generated.values())
    sizes = [path.stat().st_size for path in films]
    assert sizes[0] > sizes[1] > sizes[2]
    lengths = [probe(path, audio=False).duration_s for path in films]
    assert max(lengths) - min(lengths) < 0.05


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path)]) == 1
    assert "holds no videos: name --root of a run" in capsys.readouterr().err
    assert main(["--clips", "0"]) == 1


def test_a_stopwatch_adds_up() -> None:
    watch = Stopwatch()
    for _ in range(3):
        with watch("work"):
            sum(range(200_000))
    assert list(watch.spent) == ["work"]
    assert watch.spent["work"] > 0.0
