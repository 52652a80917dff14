"""A stage is asked for help, and given what it does not know, without running."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.closure import ROOT
from pipelines.runtime.mainguard import guarded

STAGES = sorted(
    set(re.findall(r"cmd: python -m (pipelines\.\w+)", (ROOT / "dvc.yaml").read_text()))
)


def test_every_stage_of_dvc_is_tried() -> None:
    assert len(STAGES) == len(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])


def started(
    module: str, monkeypatch: pytest.MonkeyPatch, place: Path, *arguments: str
) -> int | str | None:
    """Exit code of ``python -m module``, run in this process in an empty folder."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    return ended.value.code


@pytest.mark.filterwarnings("ignore:.*found in sys.modules.*:RuntimeWarning")
@pytest.mark.parametrize("module", STAGES)
def test_help_is_given_and_unknown_arguments_are_refused(
    module: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert started(module, monkeypatch, tmp_path, "--help") == 0
    told = capsys.readouterr().out
    assert f"usage: python -m {module}" in told
    assert f"`python -m {module}" in told or f"  python -m {module}" in told
    for unknown in (["--dry-run"], ["crop"]):
        assert started(module, monkeypatch, tmp_path, *unknown) == 2
        assert "error: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_process_ends_with_these_codes(tmp_path: Path) -> None:
    script = tmp_path / "stage.py"
    script.write_text(
        '"""Remove everything."""\nimport sys\nfrom pathlib import Path\n'
        "from pipelines.runtime.mainguard import guarded\n\n\ndef main() -> None:\n"
        '    Path("ran").touch()\n\n\nsys.exit(guarded(main))\n'
    )

    def code(*arguments: str) -> int:
        command = [sys.executable, str(script), *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=False
        ).returncode

    assert [code("--help"), code("-h"), code("--force")] == [0, 0, 2]
    assert not (tmp_path / "ran").exists()
    assert code() == 0
    assert (tmp_path / "ran").exists()


def test_a_stage_called_from_another_program_leaves_its_arguments_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["pytest", "-x"])
    assert guarded(lambda: None) == 0
