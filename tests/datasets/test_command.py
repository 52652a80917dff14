import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dimitra.datasets.command import app
from tests.datasets.inventories import CLIPS, commit_files, inventory
from tests.datasets.test_revisions import checkout, commit

__all__ = ["checkout"]


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})


def state(version: str) -> None:
    Path("params.yaml").write_text(f"datasets: {{version: {version}}}\n")


@pytest.fixture
def place(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in which version 1.0.0 with six clips is committed."""
    monkeypatch.chdir(checkout)
    state("1.0.0")
    commit_files(checkout, inventory(checkout / "shards", CLIPS[:6]), checkout / "shards")
    commit(checkout, "six clips")
    return checkout


def test_a_version_that_is_too_low_is_refused_with_the_clips(place: Path) -> None:
    alone = run("version", "--check")
    assert alone.exit_code == 0
    assert "no earlier dataset is committed" in alone.output
    commit_files(place, inventory(place / "shards2"), place / "shards2")
    low = run("version", "--check")
    assert low.exit_code == 1
    assert "at least 1.1.0" in low.output
    assert "added: 2 clips" in low.output
    assert "toy-007" in low.output
    assert run("version").exit_code == 0  # a warning alone
    state("1.1.0")
    enough = run("version", "--check")
    assert enough.exit_code == 0
    assert "the shards' metadata say 1.0.0" in enough.output
    commit_files(place, inventory(place / "shards2"), place / "shards2", "1.1.0")
    assert "metadata say" not in run("version", "--check").output


def test_committed_versions_are_held_against_the_ones_before(place: Path) -> None:
    """In a fresh clone the working tree is the newest commit; what counts is the one before."""
    other = {"toy-001": {"speech.npz": b"anew"}}
    table = inventory(place / "shards2", CLIPS[:6], changed=other)
    commit_files(place, table, place / "shards2", "1.0.1")
    state("1.0.1")
    commit(place, "edited, and called a patch")
    found = run("version", "--check", "--json")
    assert found.exit_code == 1
    report = json.loads(found.stdout)
    assert (report["least"], report["enough"], report["bump"]) == ("2.0.0", False, "major")
    assert report["edited"] == {"toy-001": ["speech"]}
    assert run("version", "--check", "--sources").exit_code == 0


def test_a_version_does_not_go_back(place: Path) -> None:
    state("0.9.0")
    commit_files(place, inventory(place / "shards", CLIPS[:6]), place / "shards", "0.9.0")
    found = run("version", "--check")
    assert found.exit_code == 1
    assert "at least 1.0.0" in found.output


def test_diff_of_two_revisions(place: Path) -> None:
    commit_files(place, inventory(place / "shards2", shards=3), place / "shards2", "1.1.0")
    commit(place, "all clips")
    found = run("diff", "HEAD~1", "HEAD")
    assert found.exit_code == 0
    assert "change: minor" in found.output
    assert run("diff", "HEAD~1", "--at-most", "patch").exit_code == 1
    assert run("diff", "HEAD~1", "--at-most", "minor").exit_code == 0
    assert run("diff", "HEAD", "HEAD~1", "--at-most", "minor").exit_code == 1
    report = json.loads(run("diff", "HEAD", "HEAD~1", "--json").stdout)
    assert report["removed"] == ["toy-006", "toy-007"]
    wrong = run("diff", "HEAD", "nowhere")
    assert wrong.exit_code == 2
    assert "nowhere is neither" in wrong.output


def test_the_card_of_any_revision(place: Path) -> None:
    commit_files(place, inventory(place / "shards2"), place / "shards2", "1.1.0")
    assert "# dimitra-toy 1.1.0" in run("card").stdout
    assert "# dimitra-toy 1.0.0" in run("card", "HEAD").stdout


def test_it_is_a_command_of_dimitra() -> None:
    from dimitra import cli

    groups = {group.name: group.typer_instance for group in cli.app.registered_groups}
    assert groups["dataset"] is app


def test_what_is_missing_is_named(place: Path) -> None:
    Path("params.yaml").write_text("datasets: {}\n")
    missing = run("version")
    assert missing.exit_code == 2
    assert "params.yaml has no datasets.version" in missing.output
    state("1")
    assert "'1' is not of the form" in run("version").output
    state("1.0.0")
    Path("inventory/dataset.json").unlink()
    assert "inventory/dataset.json is not there" in run("version").output
