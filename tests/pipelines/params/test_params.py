import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from dimitra.diffusion.schedule import linear_schedule
from dimitra.diffusion.target import LossSpace, Target, error_in_clean
from dimitra.diffusion.weighting import Weighting, level_weights
from pipelines.closure import ROOT
from pipelines.params import Params, ParamsError, Section, load, parse, weights_of

SAMPLE: dict[str, Any] = yaml.safe_load((ROOT / "conf" / "sample.yaml").read_text())


def changed(path: str, value: Any) -> dict[str, Any]:
    values = copy.deepcopy(SAMPLE)
    section = values
    *parents, last = path.split(".")
    for name in parents:
        section = section[name]
    section[last] = value
    return values


def test_every_profile_is_valid() -> None:
    for path in sorted((ROOT / "conf").glob("*.yaml")):
        assert load(path).profile == path.stem


def test_docs_have_the_datasets_of_the_paper_profile_as_they_are() -> None:
    lines = (ROOT / "conf" / "paper.yaml").read_text().splitlines()
    sets = [line.strip() for line in lines if "layout:" in line]
    assert len(sets) == 2
    text = (ROOT / "docs" / "datasets.md").read_text()
    assert all(line in text for line in sets)


@pytest.mark.parametrize(
    ("target", "loss", "weighting", "says"),
    [
        ("epsilon", "x0", "uniform", "explodes; set loss to 'target'"),
        ("epsilon", "x0", "snr", "explodes; set loss to 'target'"),
        ("epsilon", "target", "snr", "by SNR already; set weighting to 'uniform'$"),
        ("v", "target", "snr", "'uniform'; or set loss to 'x0'$"),
        ("epsilon", "target", "uniform", None),
        ("v", "target", "uniform", None),
        ("v", "x0", "snr", None),
        ("x0", "target", "snr", None),
    ],
)
def test_a_loss_that_explodes_is_refused_and_the_others_are_bounded(
    target: Target, loss: LossSpace, weighting: Weighting, says: str | None
) -> None:
    """What an error of 1 in the output costs, over what it costs in the mean of all levels."""
    schedule = linear_schedule(500)
    one = torch.ones(500, 1, dtype=torch.float64)
    cost = level_weights(schedule, weighting)
    if loss == "x0":
        error = error_in_clean(target, schedule, one, torch.arange(500))
        cost = cost * error.square()[:, 0].numpy()
    in_clean = error_in_clean(target, schedule, one, torch.arange(500)).square()[:, 0].numpy()
    of_clean = cost / in_clean  # weight of an error in x_0
    values = SAMPLE | {
        "diffusion": SAMPLE["diffusion"] | {"target": target, "loss": loss, "weighting": weighting}
    }
    if says is None:
        assert parse(values).diffusion.target == target
        assert cost.max() / cost.mean() < 10.0
        return
    with pytest.raises(ParamsError, match=says):
        parse(values)
    if loss == "x0":
        assert cost.max() / cost.mean() > 10.0
    else:  # finite, but weighed twice: beyond what the target alone does
        alone = level_weights(schedule, "uniform") / in_clean
        assert of_clean.max() / of_clean.min() > 4.0 * alone.max() / alone.min()


def absent_keys(model: type[Section], values: dict[str, Any], above: str = "") -> list[str]:
    """Keys of the schema that a file leaves out; entries of maps are a user's own."""
    absent = []
    for key, field in model.model_fields.items():
        kind = field.annotation
        if key not in values:
            absent.append(above + key)
        elif isinstance(kind, type) and issubclass(kind, Section):
            absent += absent_keys(kind, values[key], f"{above}{key}.")
    return absent


def test_profiles_are_whole_and_params_yaml_is_one() -> None:
    """DVC's ``-S`` sets only keys that are there."""
    for path in sorted((ROOT / "conf").glob("*.yaml")):
        assert absent_keys(Params, yaml.safe_load(path.read_text())) == [], path
    assert (ROOT / "params.yaml").read_bytes() == (ROOT / "conf" / "sample.yaml").read_bytes()


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("crop.sise", 256, ["crop.sise", "unknown key"]),
        ("colour", "red", ["colour", "unknown key"]),
        ("crop.size", 32, ["crop.size", "32", "greater than or equal to 64"]),
        ("crop.fps", 30, ["crop.fps", "30", "25"]),
        ("budgets.crop", 1.5, ["budgets.crop", "1.5", "less than or equal to 1"]),
        ("train.lips.steps", 0, ["train.lips.steps", "0", "greater than or equal to 1"]),
        ("shards.count", "many", ["shards.count", "many", "integer"]),
        ("limits.max_side", 0, ["limits.max_side", "0", "greater than or equal to 64"]),
        ("limits.max_fps", 5.0, ["limits", "max_fps 5.0 is below min_fps 10.0"]),
        ("limits.min_sample_rate_hz", 200_000, ["max_sample_rate_hz 192000 is below"]),
        ("datasets.sets.chorus.layout", "ava", ["chorus.layout", "ava", "voxceleb2"]),
    ],
)
def test_a_bad_value_is_named_with_its_key_and_range(
    path: str, value: Any, parts: list[str]
) -> None:
    with pytest.raises(ParamsError) as info:
        parse(changed(path, value))
    for part in parts:
        assert part in str(info.value)


def test_all_faults_are_listed_at_once_with_the_file(tmp_path: Path) -> None:
    values = changed("crop.size", 32)
    values["unheard"] = 1
    del values["seed"]
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(ParamsError) as info:
        load(file)
    message = str(info.value)
    assert str(file) in message
    assert len(message.splitlines()) == 4
    assert "seed: missing" in message


def test_the_fit_cannot_use_a_mesh_that_the_crop_does_not_make() -> None:
    values = changed("crop.mesh", "none")
    values["fit"] |= {"method": "landmarks", "landmarks": "mediapipe"}
    with pytest.raises(ParamsError, match=r"crop\.mesh is 'none'.*fit\.landmarks to 'dlib'"):
        parse(values)
    values["fit"]["method"] = "encoder"  # looks at the picture
    parse(values)


@pytest.mark.parametrize(
    ("face_model", "renderer", "message"),
    [
        ("bfm", {}, r"'mesh', which draws the open head, but fit\.face_model is 'bfm'"),
        ("open_head", {"weights": "a.pt"}, r"render\.weights is 'a\.pt'.*has none"),
        ("bfm", {"renderer": "pirender"}, r"'pirender', but render\.weights is null: name its"),
        (
            "open_head",
            {"renderer": "pirender", "weights": "pirender_256"},
            r"the Basel model's coefficients, but fit\.face_model is 'open_head'",
        ),
        (
            "bfm",
            {"renderer": "pirender", "weights": "pirender_256", "size": 250},
            r"render\.size is 250.*a multiple of 32",
        ),
    ],
)
def test_a_renderer_goes_with_its_face_model_and_weights(
    face_model: str, renderer: dict[str, Any], message: str
) -> None:
    profile = {"open_head": "sample", "bfm": "paper"}[face_model]
    values = copy.deepcopy(SAMPLE)
    values["fit"] = yaml.safe_load((ROOT / "conf" / f"{profile}.yaml").read_text())["fit"]
    values["render"] |= {"renderer": "mesh", "weights": None} | renderer
    with pytest.raises(ParamsError, match=message):
        parse(values)


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("generate.steps", 501, ["generate.steps is 501", "500"]),
        ("model.heads", 5, ["heads is 5", "width 96"]),
        ("model.encoder_heads", 7, ["encoder_heads is 7", "width 96"]),
        ("crop.size", 257, ["crop.size", "257", "multiple of 2"]),
        ("render.size", 65, ["render.size", "65", "multiple of 2"]),
        ("render.angle_limit_rad", 0, ["render.angle_limit_rad", "0", "greater than 0"]),
        ("limits.max_duration_s", 0.5, ["max_duration_s 0.5", "min_duration_s 1.0"]),
        ("datasets.sets", {}, ["datasets.sets", "at least 1"]),
        ("datasets.published", "2026-99-99", ["datasets.published", "2026-99-99"]),
        ("transcribe.model", "hf:a/b", ["transcribe.model", "hf:owner/model@revision"]),
        ("transcribe.model", "hf:a/b@main", ["transcribe.model", "is a branch, which moves"]),
        ("render.weights", "", ["render.weights", "at least 1"]),
        ("profile", "papr", ["profile", "papr", "sample", "paper"]),
    ],
)
def test_values_that_would_fail_later_are_refused_at_the_start(
    path: str, value: Any, parts: list[str]
) -> None:
    with pytest.raises(ParamsError) as info:
        parse(changed(path, value))
    for part in parts:
        assert part in str(info.value)


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("a: [1,\n")
    with pytest.raises(ParamsError, match="not YAML"):
        load(file)


def test_references_to_weights_are_found_by_their_type() -> None:
    values = changed("transcribe.model", "hf:a/b@v1")
    values["speech"]["dictionary"] = "/data/words.dict"
    named = weights_of(parse(values))
    assert named["transcribe.model"] == "hf:a/b@v1"
    assert named["speech.dictionary"] == "/data/words.dict"
    assert named["fit.face_model_weights"] == "anny_head"
    assert not {"fit.encoder_weights", "render.weights", "speech.mfa"} & set(named)
