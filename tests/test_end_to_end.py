"""The whole pipeline on a cut of the sample corpus, in a clone, with broken clips among them.

``make e2e`` runs it. The cut has six chorus identities and one lecture; training is cut short,
so nothing is said here about quality: `tests/test_committed_metrics.py` does that for the full run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent
TRAIN = ("id00001", "id00004", "id00007", "id00010")
TEST = ("id00013", "id00014")
STAGES = (
    *("ingest", "split", "crop", "fit", "transcribe", "align_train", "train_sync"),
    *("speech", "shard"),
    *("train@lips", "train@expression", "train@pose", "generate", "score"),
    *("render", "evaluate", "report"),
)


def run(folder: Path, *command: str, cache: str = "cache", mlflow: bool = False) -> str:
    """Run a command of this environment in the clone and return what it printed."""
    bin_folder = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "DIMITRA_CACHE_DIR": str(folder.parent / cache),
        "DIMITRA_MLFLOW": str(int(mlflow)),
        "DVC_NO_ANALYTICS": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "PYTHONPATH": str(folder),
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, f"{command} exited {result.returncode}:\n{output[-6000:]}"
    return output


def stages_run(output: str) -> list[str]:
    """Stages that a ``dvc repro`` really ran."""
    return re.findall(r"Running stage '([^']+)'", output)


def write_video(path: Path, frames: int, sound: bool) -> None:
    """A video without any face, with or without sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 128, 128, "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for _ in range(frames):
            picture = generator.integers(0, 255, (128, 128, 3), np.uint8)
            for packet in video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                container.mux(packet)
        for packet in video.encode():
            container.mux(packet)
        if audio is not None:
            samples = (generator.standard_normal((1, 16000 * frames // 25)) * 3000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            frame.sample_rate = 16000
            for packet in [*audio.encode(frame), *audio.encode()]:
                container.mux(packet)


def add_broken_clips(chorus: Path) -> dict[str, str]:
    """Put broken files among the clips; return clip id to expected reason."""
    folder = chorus / "mp4" / TRAIN[0] / "brokenclips"
    folder.mkdir(parents=True)
    (folder / "00001.mp4").write_bytes(b"")
    (folder / "00002.mp4").write_text("this is not a video\n" * 50)
    write_video(folder / "00003.mp4", 50, sound=False)
    write_video(folder / "00004.mp4", 50, sound=True)
    whole = next(
        path
        for path in sorted((chorus / "mp4" / TRAIN[0]).rglob("*.mp4"))
        if path.stat().st_size > 1000
    )
    (folder / "00005.mp4").write_bytes(whole.read_bytes()[:3000])
    with av.open(str(folder / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 32000), np.int16), "s16", "mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    (folder / "sound.wav").rename(folder / "00006.mp4")
    prefix = f"chorus-{TRAIN[0]}-brokenclips-"
    return {
        prefix + "00001": "empty_file",
        prefix + "00002": "not_media",
        prefix + "00003": "no_audio",
        prefix + "00004": "no_face",
        prefix + "00005": "truncated",
        prefix + "00006": "wrong_extension",
    }


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str], str]]:
    """A clone with the cut corpus, after its first ``dvc repro``: folder, broken clips, output."""
    folder = tmp_path_factory.mktemp("e2e") / "clone"
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in files:
        if (ROOT / name).is_file() and not name.startswith("remote/") and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    source = ROOT / "datasets"
    for identity in (*TRAIN, *TEST):
        clips = sorted((source / "chorus" / "mp4" / identity).rglob("*.mp4"))
        for clip in clips[:1] + clips[-1:]:
            target = folder / "datasets" / clip.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(clip, target)
    shutil.copy2(source / "chorus" / "vox2_meta.csv", folder / "datasets" / "chorus")
    lecture = folder / "datasets" / "lecture"
    lecture.mkdir()
    for path in sorted((source / "lecture").glob("*.txt")):
        shutil.copy2(path, lecture)
    for part, pattern in (("videos", "Avery_0.mp4"), ("transcripts", "Avery_0.txt")):
        (lecture / part).mkdir()
        shutil.copy2(source / "lecture" / part / pattern, lecture / part)
    shutil.copytree(ROOT / "truth", folder / "truth")
    broken = add_broken_clips(folder / "datasets" / "chorus")

    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["budgets"].update(ingest=0.5, crop=0.2)
    params["shards"]["count"] = 4
    params["align_train"]["iterations"] = 6
    params["sync"].update(steps=5, width=8)
    params["generate"]["samples"] = 2
    for part in ("lips", "expression", "pose"):
        params["train"][part]["steps"] = 20
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    run(folder, "git", "init", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "cut")
    run(folder, "dvc", "commit", "-f", "datasets.dvc")
    output = run(folder, "dvc", "repro", mlflow=True)
    yield folder, broken, output
    shutil.rmtree(folder.parent, ignore_errors=True)


def test_every_stage_runs_and_leaves_its_outputs(clone: tuple[Path, dict[str, str], str]) -> None:
    folder, _, output = clone
    assert sorted(stages_run(output)) == sorted(STAGES)
    for dataset in ("chorus", "lecture"):
        table = json.loads((folder / "metrics" / f"{dataset}.json").read_text())
        for method in ("dimitra_hp", "dimitra_no_hp", "frozen_first_frame"):
            for metric in ("f_lmd", "m_lmd"):
                cell = table[method][metric]
                assert np.isfinite(cell["value"])
                assert cell["n"] > 0
            for metric in ("sync_dist", "sync_conf"):
                assert np.isfinite(table[method][metric]["value"])
                assert table[method][metric]["n"] > 0
    page = (folder / "report" / "index.html").read_text()
    assert "F-LMD" in page
    videos = re.findall(r'"(videos/[^"]+\.mp4)"', page)
    assert videos
    for video in videos:
        with av.open(str(folder / "report" / video)) as container:
            assert container.duration
    croissant = json.loads((folder / "data" / "shards" / "croissant.json").read_text())
    assert any(item["@id"] == "index.parquet" for item in croissant["distribution"])
    assert (folder / "mlflow.db").stat().st_size > 0
    assert "up to date" in run(folder, "dvc", "status")


def test_broken_clips_are_quarantined_with_their_reason(
    clone: tuple[Path, dict[str, str], str],
) -> None:
    folder, broken, _ = clone
    found: dict[str, str] = {}
    for path in sorted(folder.glob("data/**/quarantine.parquet")):
        for row in pq.read_table(path).to_pylist():
            found[row["clip_id"]] = row["reason"]
    # HDTF's lists name four lectures; the cut holds one of them.
    missing = {clip for clip, reason in found.items() if reason == "missing_file"}
    assert sorted(clip.split("-")[1] for clip in missing) == ["blake_0", "casey_0", "devon_0"]
    assert {clip: found[clip] for clip in found if clip not in missing} == broken
    for path in sorted(folder.glob("data/**/balance.json")):
        balance = json.loads(path.read_text())
        assert balance["clips_in"] == balance["clips_out"] + balance["quarantined"], path


def audit(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and findings of an audit of the clone."""
    result = subprocess.run(
        [sys.executable, "-m", "pipelines.commands.audit", *arguments, "--json"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(folder),
            "DIMITRA_CACHE_DIR": str(folder.parent / "cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode in (0, 1), result.stderr
    return result.returncode, json.loads(result.stdout)


def test_every_number_is_audited(clone: tuple[Path, dict[str, str], str]) -> None:
    folder, broken, _ = clone
    code, found = audit(folder, "metrics/chorus.json", "--verify", "--replay")
    assert code == 0, found["findings"]
    assert not [one for one in found["findings"] if one["where"].startswith(("data/", "models/"))]
    assert found["replay"]["differing"] == 0
    assert found["split"]["chorus"]["shared"] == {"identities": 0, "source_videos": 0}
    assert {one["stage"] for one in found["stages"]} == {*STAGES} - {"report"}
    clip = next(clip for clip, reason in broken.items() if reason == "no_face")
    (history,) = audit(folder, clip)[1]["history"]
    assert [(row["stage"], row["reason"]) for row in history["quarantined"]] == [
        ("crop", "no_face")
    ]


@pytest.mark.parametrize("name", ["data/shards/*.tar", "models/pose/model.safetensors"])
def test_a_flipped_byte_is_found_and_named(
    clone: tuple[Path, dict[str, str], str], name: str
) -> None:
    folder = clone[0]
    path = sorted(folder.glob(name))[0]
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(damaged))
    try:
        code, found = audit(folder, "metrics/chorus.json", "--verify")
    finally:
        path.write_bytes(whole)
    assert code == 1
    broken = [one["where"] for one in found["findings"] if one["kind"] == "broken"]
    assert broken == [str(path.relative_to(folder))]


def test_second_repro_does_nothing(clone: tuple[Path, dict[str, str], str]) -> None:
    assert stages_run(run(clone[0], "dvc", "repro")) == []


def test_forced_repro_without_the_work_cache_gives_the_same_bytes(
    clone: tuple[Path, dict[str, str], str],
) -> None:
    folder = clone[0]
    before = yaml.safe_load((folder / "dvc.lock").read_text())
    output = run(folder, "dvc", "repro", "-f", cache="second-cache")
    assert sorted(stages_run(output)) == sorted(STAGES)
    after = yaml.safe_load((folder / "dvc.lock").read_text())
    assert list(before["stages"]) == list(after["stages"])
    for stage in before["stages"]:
        assert before["stages"][stage] == after["stages"][stage], stage


def test_a_training_parameter_reruns_what_follows_it(
    clone: tuple[Path, dict[str, str], str],
) -> None:
    folder = clone[0]
    run(folder, "git", "add", "-A")
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    run(folder, "git", *identity, "commit", "-qm", "run")
    path = folder / "params.yaml"
    original = path.read_text()
    params = yaml.safe_load(original)
    params["train"]["lips"]["steps"] = 21
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    try:
        ran = stages_run(run(folder, "dvc", "repro"))
        after = ["generate", "score", "render", "evaluate", "report"]
        assert ran[:2] == ["train@lips", "generate"]
        assert sorted(ran[1:]) == sorted(after)
        causes = audit(folder, "metrics/chorus.json", "--diff", "HEAD")[1]["causes"]
        assert [(one["kind"], one["what"]) for one in causes] == [("parameter", "train.lips.steps")]
    finally:
        path.write_text(original)
        run(folder, "dvc", "repro")


def test_a_metric_edit_reruns_evaluation_only(clone: tuple[Path, dict[str, str], str]) -> None:
    folder = clone[0]
    module = folder / "dimitra" / "metrics" / "procrustes.py"
    module.write_text(module.read_text() + "\n# a remark\n")
    assert stages_run(run(folder, "dvc", "repro")) == ["evaluate", "report"]


def test_truth_reaches_evaluation_alone(clone: tuple[Path, dict[str, str], str]) -> None:
    """Without the truth nothing but ``score`` and what follows it runs again."""
    folder = clone[0]
    for path in (folder / "truth").rglob("*.npz"):
        path.unlink()
    run(folder, "dvc", "commit", "-f", "datasets.dvc")
    assert stages_run(run(folder, "dvc", "repro")) == ["score", "evaluate", "report"]
