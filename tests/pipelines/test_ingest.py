import hashlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from dimitra.clips import MANIFEST_SCHEMA, ClipError, Reason
from dimitra.media.mp4 import encode_mp4
from pipelines.closure import ROOT
from pipelines.errors import BudgetError, JobError
from pipelines.ingest import ingest, make_worker
from pipelines.params import Params, ParamsError, parse
from pipelines.runtime.jobs import read_manifest
from pipelines.runtime.quarantine import read_quarantine, write_table
from tests.pipelines.balances import write_balance
from tests.pipelines.runtime.test_jobs import clip


def video(seconds: float = 1.2, sound: bool = True) -> bytes:
    frames = [np.full((64, 96, 3), 40 + number, np.uint8) for number in range(int(25 * seconds))]
    tone = np.sin(np.arange(int(16000 * seconds)) / 9.0).astype(np.float32) * 0.2
    return encode_mp4(frames, audio=tone if sound else None)


def wave(seconds: float) -> bytes:
    held = io.BytesIO()
    tone = np.sin(np.arange(int(16000 * seconds)) / 9.0).astype(np.float32) * 0.2
    soundfile.write(held, tone, 16000, format="WAV", subtype="PCM_16")
    return held.getvalue()


def params(root: Path, budget: float) -> Params:
    values: dict[str, Any] = yaml.safe_load((ROOT / "conf" / "sample.yaml").read_text())
    values["datasets"] = {
        "root": str(root),
        "sets": {
            "vox": {"layout": "voxceleb2", "path": "vox", "split": "vox/v1"},
            "talks": {"layout": "hdtf", "path": "talks", "split": "talks/v1"},
        },
    }
    values["budgets"]["ingest"] = budget
    return parse(values)


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    root = tmp_path / "datasets"
    good = video()
    files = {
        "vox/mp4/id1/va/00001.mp4": good,
        "vox/mp4/id1/va/00002.mp4": video(1.6),
        "vox/mp4/id2/vb/00001.mp4": b"",
        "vox/mp4/id2/vb/00002.mp4": video(sound=False),
        "vox/mp4/id2/vb/00003.mp4": b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00" + bytes(64),
        "vox/mp4/id2/vb/00004.mp4": b"this is no video at all\n" * 40,
        "vox/mp4/id2/vb/00005.mp4": video(0.4),
        "talks/videos/Ann_0.mp4": good,
        "talks/transcripts/Ann_0.txt": b"Hello there.\n",
        "talks/LEC_annotion_time.txt": b"Ann.mp4 00:00-00:01\n",
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_good_clips_fill_the_manifest_and_bad_ones_the_quarantine(
    corpus: Path, tmp_path: Path
) -> None:
    output = tmp_path / "manifest"
    ingest(params(corpus, 1.0), output)
    clips = read_manifest(output / "clips.parquet")
    assert [clip.clip_id for clip in clips] == [
        "talks-ann_0",
        "vox-id1-va-00001",
        "vox-id1-va-00002",
    ]
    ann, first, second = clips
    assert ann.transcript == "Hello there."
    assert (ann.identity, first.identity, first.source_video) == ("Ann", "id1", "id1/va")
    assert (first.width, first.height, first.fps) == (96, 64, 25.0)
    assert first.duration_s == pytest.approx(1.2, abs=0.1)
    assert first.sha256 == hashlib.sha256((corpus / "vox" / first.path).read_bytes()).hexdigest()
    assert first.shard == second.shard
    reasons = {row.clip_id: row.reason for row in read_quarantine(output)}
    assert reasons["vox-id2-vb-00001"] == "empty_file"
    assert reasons["vox-id2-vb-00002"] == "no_audio"
    assert reasons["vox-id2-vb-00003"] in {"wrong_extension", "no_video"}
    assert reasons["vox-id2-vb-00004"] == "not_media"
    assert reasons["vox-id2-vb-00005"] == "too_short"
    assert all(row.input_sha256 for row in read_quarantine(output))
    balance = json.loads((output / "balance.json").read_text())
    assert (balance["clips_in"], balance["clips_out"], balance["quarantined"]) == (8, 3, 5)
    assert sorted(path.name for path in output.iterdir()) == [
        "balance.json",
        "clips.parquet",
        "listing.json",
        "quarantine.parquet",
    ]
    counts = json.loads((output / "listing.json").read_text())
    assert counts["talks"] == {
        "layout": "hdtf",
        "list": None,
        "clips": 1,
        "refused": 0,
        "other_files": 0,
    }
    assert (counts["vox"]["clips"], counts["vox"]["speakers"]) == (7, None)

    # Again, from the work cache: the same bytes; and a file that is added costs its shard alone.
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    shutil.rmtree(output)
    ingest(params(corpus, 1.0), output)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def test_a_failed_ingest_leaves_the_hashes_and_no_manifest(corpus: Path, tmp_path: Path) -> None:
    """The clips of the run before, which was allowed all, are not taken for those of this one."""
    output = tmp_path / "manifest"
    ingest(params(corpus, 1.0), output)
    manifest, rows = output / "clips.parquet", read_quarantine(output)
    with pytest.raises(BudgetError, match=r"62.5% of the clips, but budgets.ingest allows 5.0%"):
        ingest(params(corpus, 0.05), output)
    assert sorted(path.name for path in output.iterdir()) == ["balance.json", "quarantine.parquet"]
    assert read_quarantine(output) == rows
    assert all(row.input_sha256 for row in rows)
    with pytest.raises(FileNotFoundError, match=r"run `python -m pipelines\.ingest` first"):
        read_manifest(manifest)


def test_a_kill_at_any_write_leaves_no_manifest_that_is_read(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "manifest"
    ingest(params(corpus, 1.0), output)
    whole = {path.name: path.read_bytes() for path in output.iterdir()}
    (corpus / "vox/mp4/id1/va/00002.mp4").unlink()  # the next run's clips are others

    for name in ("write_table", "write_atomic", "_gather", "_clear_shards", "_hash_quarantined"):
        with monkeypatch.context() as killed:
            killed.setattr(f"pipelines.ingest.{name}", _kill)
            with pytest.raises(KeyboardInterrupt):
                ingest(params(corpus, 1.0), output)
        with pytest.raises((FileNotFoundError, JobError)):
            read_manifest(output / "clips.parquet")
    ingest(params(corpus, 1.0), output)
    assert len(read_manifest(output / "clips.parquet")) == 2
    assert {path.name for path in output.iterdir()} == whole.keys()


def _kill(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_manifest_is_read_only_with_its_balance(tmp_path: Path) -> None:
    rows = [vars(clip(number, 0)) for number in range(3)]
    path = tmp_path / "clips.parquet"
    write_table(path, rows, MANIFEST_SCHEMA)
    with pytest.raises(JobError, match=r"has no balance\.json"):
        read_manifest(path)
    write_balance(tmp_path, "ingest", 4)
    with pytest.raises(JobError, match=r"clips\.parquet holds 3 clips, .*balance\.json tells of 4"):
        read_manifest(path)
    write_balance(tmp_path, "ingest", 3)
    assert len(read_manifest(path)) == 3


def test_every_layout_and_a_list_of_clips(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Four datasets in one folder: what is listed, absent, outside or cut adds up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for workers: not the folder they start in
    box = {"top": 0.1, "bottom": 0.9, "left": 0.2, "right": 0.8}
    span = {"start_sec": 1.0, "end_sec": 3.0}
    info = {
        f"abc_{number}": {"ytb_id": "abc", "duration": span, "bbox": box} for number in range(2)
    }
    boxes = "Identity : \tid1\n\nFRAME \tX \tY \tW \tH \n1 \t1.4 \t0.1 \t0.3 \t0.4\n"
    long = video(6.0)
    files: dict[str, bytes] = {
        "vox/txt/id1/va/00002.txt": boxes.encode(),
        "talks/videos/Ben.mp4": long,
        "talks/LEC_annotion_time.txt": b"Ann.mp4 00:00-00:01\nBen.mp4 00:01-00:03 00:04-00:09\n",
        "celeb/celebvhq_info.json": json.dumps({"clips": info}).encode(),
        "celeb/35666/abc_0.mp4": video(1.3),
        "mine/anna/day/one.mp4": video(1.4),
        "mine/anna/day/one.txt": b"Good day.",
        "mine/two.mp4": video(1.5),
        "mine/three.mp4": video(1.6, sound=False),
        "mine/three.wav": wave(1.6),
        "mine/picture.jpg": b"",
    }
    for name, data in files.items():
        (corpus / name).parent.mkdir(parents=True, exist_ok=True)
        (corpus / name).write_bytes(data)
    (tmp_path / "splits").mkdir()
    listed = ("mp4/id1/va/00001.mp4", "mp4/id1/va/00002.mp4", "mp4/id7/vz/00009.mp4")
    (tmp_path / "splits" / "clips.txt").write_text("\n".join(listed))
    values = params(corpus, 1.0).model_dump()
    values["datasets"]["sets"]["vox"]["clips"] = "splits/clips.txt"
    for layout, name in (("celebvhq", "celeb"), ("folder", "mine")):
        values["datasets"]["sets"][name] = {"layout": layout, "path": name, "split": f"{name}/v1"}
    output = tmp_path / "manifest"
    ingest(parse(values), output)
    clips = {clip.clip_id: clip for clip in read_manifest(output / "clips.parquet")}
    assert sorted(clips) == [
        *("celeb-abc_0", "mine-anna-day-one", "mine-three", "mine-two"),
        *("talks-ann_0", "talks-ben_0", "vox-id1-va-00001"),
    ]
    cut = clips["talks-ben_0"]
    assert (cut.start_s, cut.end_s, cut.path) == (1.0, 3.0, "videos/Ben.mp4")
    assert cut.duration_s == pytest.approx(2.0)
    assert cut.sha256 == hashlib.sha256(long).hexdigest()
    assert clips["mine-anna-day-one"].transcript == "Good day."
    assert clips["mine-three"].audio_path == "three.wav"
    both = files["mine/three.mp4"] + files["mine/three.wav"]
    assert clips["mine-three"].sha256 == hashlib.sha256(both).hexdigest()
    rows = {row.clip_id: (row.reason, row.message) for row in read_quarantine(output)}
    reasons = sorted(reason for reason, _ in rows.values())
    assert reasons == ["bad_annotation", "missing_file", "missing_file", "truncated"]
    assert "4 to 9 s ends after the file, which has 6.0" in rows["talks-ben_1"][1]
    messages = " ".join(message for _, message in rows.values())
    assert "txt/id1/va/00002.txt:4: the face box X=1.4" in messages
    assert "splits/clips.txt names mp4/id7/vz/00009.mp4, which is not there" in messages
    assert "celebvhq_info.json names abc_1.mp4, which is not there" in messages
    balance = json.loads((output / "balance.json").read_text())
    assert (balance["clips_in"], balance["clips_out"], balance["quarantined"]) == (11, 7, 4)
    counts = json.loads((output / "listing.json").read_text())
    vox = counts["vox"]
    assert [vox[key] for key in ("listed", "listed_but_absent", "present_but_not_listed")] == [
        *(3, 1, 5)
    ]
    assert vox["face_boxes"] == 1
    assert counts["mine"]["other_files"] == counts["celeb"]["other_files"] == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "splits/clips.txt lists 3 files, 1 of them are not there; 5 files in the folder" in said
    assert "mine: 1 files are no videos and stay outside; 2 videos lie at the top" in said


def test_an_interval_too_short_or_after_the_end_is_named(tmp_path: Path) -> None:
    path = tmp_path / "videos" / "a.mp4"
    path.parent.mkdir()
    path.write_bytes(video(3.0))
    work = make_worker(
        {
            "limits": params(tmp_path, 1.0).limits.model_dump(),
            "roots": {"toy": tmp_path.as_posix()},
        }
    )
    whole = replace(clip(0, 0), path="videos/a.mp4", audio_path=None)

    def length_s(start_s: float, end_s: float | None) -> float:
        row = work(replace(whole, start_s=start_s, end_s=end_s), {})["clip.json"]
        return float(json.loads(row)["duration_s"])

    assert length_s(0.0, None) == pytest.approx(3.0, abs=0.1)
    assert length_s(1.5, None) == pytest.approx(1.5, abs=0.1)
    assert length_s(1.0, 4.0) == pytest.approx(2.0, abs=0.1)  # a list of whole seconds
    with pytest.raises(ClipError, match=r"0 to 4\.5 s ends after the file, which has 3\.") as info:
        length_s(0.0, 4.5)
    assert info.value.reason is Reason.TRUNCATED
    with pytest.raises(ClipError, match=r"1 to 1\.5 s has 0\.50 s") as info:
        length_s(1.0, 1.5)
    assert info.value.reason is Reason.TOO_SHORT


@pytest.mark.parametrize("clips", ["/data/clips.txt", "clips.txt", "splits/../clips.txt", "splits"])
def test_a_list_outside_of_splits_is_refused(tmp_path: Path, clips: str) -> None:
    values = params(tmp_path, 1.0).model_dump()
    values["datasets"]["sets"]["vox"]["clips"] = clips
    with pytest.raises(ParamsError, match="a list of clips lies below splits/"):
        parse(values)
