import json
import subprocess

import pytest
from rich.console import Console

from pipelines.tolerance import BOUNDS, Tolerance, check, compare, read_tolerance

RULE = Tolerance.model_validate(
    {
        "clips": 1,
        "default": {"relative": 0.0, "absolute": 0.0},
        "metrics": {"f_lmd": {"relative": 0.1, "absolute": 0.05}},
    }
)


def number(value, n=10, dropped=0, reason=None, **more):
    bounds = dict.fromkeys(BOUNDS)
    return {
        "value": value, "n": n, "dropped": dropped, "reason": reason, "identities": 5
    } | bounds | more  # fmt: skip


def problem(before, after, metric="f_lmd"):
    (item,) = compare("chorus", {"m": {metric: before}}, {"m": {metric: after}}, RULE)
    return item.problem


@pytest.mark.parametrize(
    ("before", "after", "within"),
    [(2.0, 2.25, True), (2.0, 1.75, True), (2.0, 2.26, False), (2.0, 1.7, False)],
)
def test_the_limit_is_absolute_plus_relative(before, after, within):
    assert (problem(number(before), number(after)) == "") is within


def test_unlisted_metrics_use_the_default():
    assert problem(number(1.0), number(1.0001), "other")
    assert not problem(number(1.0), number(1.0), "other")


def test_null_agrees_with_null_alone():
    assert problem(number(None, 0, reason="a"), number(None, 0, reason="a")) == ""
    assert "became None (gone)" in problem(number(1.0), number(None, reason="gone"))
    assert "None became 1.0" in problem(number(None, reason="gone"), number(1.0))


def test_counts_may_differ_by_the_stated_clips():
    assert problem(number(1.0, n=10), number(1.0, n=11, dropped=1)) == ""
    assert problem(number(1.0, n=10), number(1.0, n=8)) == "n 10 became 8, at most 1 may differ"


def test_intervals_have_the_tolerance_of_their_metric():
    def bounds(low):
        return number(2.0, low=low, high=3.0, identities_low=1.0, identities_high=4.0)

    assert problem(bounds(1.5), bounds(1.6)) == ""
    assert problem(bounds(1.5), bounds(1.8)) == "low differs by 0.3, 0.2 is allowed"
    assert problem(bounds(1.5), bounds(None)) == "low 1.5 became None"
    gone = {key: value for key, value in bounds(1.5).items() if key != "high"}
    assert problem(gone, bounds(1.5)) == "high in one of the files alone"
    assert problem(number(1.0, identities=9), number(1.0, identities=7)).startswith("identities 9")


def test_files_that_are_not_a_data_sets_are_left_alone(repository):
    folder = repository(2.0)
    (folder / "paired.json").write_text('{"chorus": {}}')
    (folder / "ablations.json").write_text("[]")
    assert run(folder)[0]
    repository(None)
    assert run(folder)[0]


def test_a_number_on_one_side_only_is_a_problem():
    one = {"m": {"f_lmd": number(1.0)}}
    assert compare("chorus", one, {}, RULE)[0].problem == "missing from the new file"
    assert compare("chorus", {}, one, RULE)[0].problem == "not in the committed file"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "tolerance.yaml").write_text(json.dumps(RULE.model_dump()))
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "init", "-q"], check=True)

    def commit(value):
        if value is not None:
            (folder / "chorus.json").write_text(json.dumps({"m": {"f_lmd": number(value)}}))
        subprocess.run(["git", "add", "."], check=True)
        subprocess.run(["git", *identity, "commit", "-qm", "x"], check=True)
        return folder

    return commit


def run(folder):
    console = Console(record=True, width=160)
    within = check("HEAD", folder / "tolerance.yaml", folder.relative_to(folder.parent), console)
    return within, console.export_text()


def test_against_git(repository):
    folder = repository(2.0)
    assert run(folder) == (True, run(folder)[1])
    (folder / "chorus.json").write_text(json.dumps({"m": {"f_lmd": number(3.0)}}))
    within, text = run(folder)
    assert not within
    assert "differs by 1, 0.25 is allowed" in text
    (folder / "chorus.json").unlink()
    assert not run(folder)[0]


def test_nothing_committed_is_said(repository):
    within, text = run(repository(None))
    assert within
    assert "nothing to compare with" in text


def test_a_wrong_key_is_named(tmp_path):
    path = tmp_path / "tolerance.yaml"
    path.write_text("clips: -1\ndefault: {relative: 0.1, absolut: 0.1}\n")
    with pytest.raises(ValueError, match=r"default\.absolut") as error:
        read_tolerance(path)
    assert "clips" in str(error.value)


def test_the_committed_file_is_valid(pytestconfig):
    assert read_tolerance(pytestconfig.rootpath / "metrics/tolerance.yaml").metrics
