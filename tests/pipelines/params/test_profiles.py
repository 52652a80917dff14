"""Profiles: used, compared, checked; and what DVC makes of params.yaml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipelines.closure import ROOT
from pipelines.commands.params import app
from pipelines.params import profiles

COPIED = ("conf", "dimitra", "pipelines", "dvc.yaml", "weights.yaml", "Makefile")


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def git(*arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git checkout with ``params.yaml`` of the sample profile, as the working folder."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / name)
    shutil.copy(ROOT / "conf" / "sample.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    profiles.use("sample")
    git("commit", "-qam", "dvc.yaml follows params.yaml", "--allow-empty")
    return tmp_path


def stages() -> dict[str, dict[str, list[object]]]:
    content = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    return {name: stage.get("do", stage) for name, stage in content.items()}


def assets_of(stage: str) -> list[str]:
    for item in stages()[stage]["params"]:
        if isinstance(item, dict):
            return list(item["dimitra/assets.yaml"])
    return []


def test_use_copies_a_profile_and_dvc_yaml_follows(checkout: Path) -> None:
    before = Path("dvc.yaml").read_text()
    assert invoke("use", "paper")[0] == 0
    assert Path("params.yaml").read_bytes() == Path("conf/paper.yaml").read_bytes()
    metrics = [{f"metrics/{name}.json": {"cache": False}} for name in ("voxceleb2", "hdtf")]
    assert stages()["evaluate"]["metrics"] == metrics
    deps = stages()["report"]["deps"]
    assert {"metrics/voxceleb2.json", "metrics/hdtf.json"} <= set(deps)
    assert not {"metrics/chorus.json", "metrics/lecture.json"} & set(deps)
    assert "assets.whisper_small_en" in assets_of("transcribe")
    assert "assets.clip_vit_b32" in assets_of("speech")
    assert "weights.yaml" in stages()["fit"]["deps"]
    assert "weights.yaml" not in stages()["split"]["deps"]
    code, output = invoke("use", "sample")
    assert (code, Path("dvc.yaml").read_text()) == (0, before), output
    assert "already was a copy" in invoke("use", "sample")[1]


def test_edits_that_are_saved_nowhere_are_not_overwritten(checkout: Path) -> None:
    text = Path("params.yaml").read_text().replace("count: 8", "count: 9")
    Path("params.yaml").write_text(text)
    code, output = invoke("use", "paper")
    assert code == 2
    assert "neither committed nor a profile's" in output
    assert "--force" in output
    assert Path("params.yaml").read_text() == text
    git("commit", "-qam", "an experiment")
    assert invoke("use", "paper")[0] == 0
    Path("params.yaml").write_text(text + "\n")
    assert invoke("use", "paper", "--force")[0] == 0


def test_an_unknown_or_broken_profile_changes_nothing(checkout: Path) -> None:
    before = Path("params.yaml").read_bytes()
    code, output = invoke("use", "papr")
    assert code == 2
    assert "there are: paper, sample" in output
    broken = Path("conf/sample.yaml").read_text().replace("count: 8", "count: 0")
    Path("conf/broken.yaml").write_text(broken)
    code, output = invoke("use", "broken")
    assert code == 2
    assert "shards.count: 0 is not allowed" in output
    assert Path("params.yaml").read_bytes() == before


def test_diff_shows_keys_and_both_values_and_exits_as_diff_does(checkout: Path) -> None:
    assert invoke("diff", "sample") == (0, "")
    code, output = invoke("diff", "sample", "paper")
    assert code == 1
    rows = {
        cells[1].strip(): (cells[2].strip(), cells[3].strip())
        for line in output.splitlines()
        if len(cells := line.split("│")) == 5
    }
    sample, paper = (
        profiles.flat(yaml.safe_load(Path(f"conf/{n}.yaml").read_text()))
        for n in ("sample", "paper")
    )
    keys = {key for key in {*sample, *paper} if sample.get(key) != paper.get(key)}
    assert rows == {key: (sample.get(key, "-"), paper.get(key, "-")) for key in keys}
    assert rows["speech.encoder"] == ("moonshine_base", "wav2vec2_xlsr53_english")
    shutil.copy("params.yaml", "mine.yaml")
    assert invoke("diff", "mine.yaml", "params.yaml") == (0, "")
    for other in ("papr", "elsewhere/params.yaml"):
        code, output = invoke("diff", "sample", other)
        assert code == 2
        assert other in output


def test_check_names_every_fault(checkout: Path) -> None:
    assert invoke("check") == (0, "params.yaml is valid, a copy of conf/sample.yaml\n")
    assert invoke("check", "paper")[0] == 0
    text = Path("params.yaml").read_text()
    text = text.replace("count: 8", "count: 0").replace(
        "model: whisper_tiny_en", "model: hf:Systran/faster-whisper-tiny"
    )
    Path("params.yaml").write_text(text)
    code, output = invoke("check")
    assert code == 2
    assert "shards.count: 0 is not allowed" in output
    assert "transcribe.model" in output
    assert "hf:owner/model@revision" in output


def test_outside_of_a_checkout_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = invoke("use", "sample")
    assert code == 2
    assert "run this in the checkout's root" in output


def lint() -> int:
    command = ["make", "--no-print-directory", "lint-params"]
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_lint_refuses_params_that_are_no_profile(checkout: Path) -> None:
    assert lint() == 0
    invoke("use", "paper")
    assert lint() == 0
    with Path("params.yaml").open("a") as file:
        file.write("# an edit\n")
    assert lint() != 0


def dvc(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "DVC_NO_ANALYTICS": "true",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **{
            f"GIT_{who}_{what}": f"{who}@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
    return subprocess.run(
        ["dvc", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_dvc_sets_single_parameters_and_keeps_the_comments(checkout: Path) -> None:
    """The real DVC, with one stage that only reads the parameters."""
    stage = {
        "cmd": "python -m pipelines.params && python -c \"import shutil; shutil.copy('params.yaml', 'seen.yaml')\"",  # noqa: E501
        "params": ["shards", "transcribe"],
        "outs": ["seen.yaml"],
    }
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"check": stage}}))
    assert dvc("init", "-q").returncode == 0
    git("add", ".")
    git("commit", "-qm", "dvc")
    before = Path("params.yaml").read_text()

    temporary = dvc("exp", "run", "--temp", "-S", "shards.count=4", "--name", "four")
    assert temporary.returncode == 0, temporary.stderr
    assert Path("params.yaml").read_text() == before
    shown = subprocess.run(
        ["git", "show", "refs/exps/" + _ref("four") + ":params.yaml"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert yaml.safe_load(shown)["shards"]["count"] == 4

    changed = dvc("exp", "run", "-S", "shards.count=4", "-S", "transcribe.model=/w/tiny")
    assert changed.returncode == 0, changed.stderr
    after = Path("params.yaml").read_text()
    assert Path("seen.yaml").read_text() == after
    values = yaml.safe_load(after)
    assert (values["shards"]["count"], values["transcribe"]["model"]) == (4, "/w/tiny")
    changes = {(c.key, c.right) for c in profiles.compare("sample", "params.yaml")}
    assert changes == {("shards.count", "4"), ("transcribe.model", "/w/tiny")}
    # Comments stay where they are; `null` is written as nothing, and long lines are folded.
    assert [line.partition("#")[2] for line in after.splitlines() if "#" in line] == [
        line.partition("#")[2] for line in before.splitlines() if "#" in line
    ]
    assert "  address:\n" in after

    refused = dvc("exp", "run", "-S", "transcribe.model=hf:Systran/faster-whisper-tiny")
    assert refused.returncode != 0
    assert "hf:owner/model@revision" in refused.stderr


def _ref(name: str) -> str:
    listed = subprocess.run(
        ["git", "for-each-ref", "--format=%(refname)", "refs/exps"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return next(ref for ref in listed if ref.endswith(f"/{name}")).removeprefix("refs/exps/")
