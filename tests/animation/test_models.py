import json
from pathlib import Path

import pytest
import yaml

from dimitra.animation.errors import AnimationError
from dimitra.animation.models import load_models
from dimitra.animation.settings import parameter_file, read_settings
from dimitra.cmdt.recursion import SamplingConfig
from pipelines.params import load
from tests.animation.toy import SAMPLE, run_folder


def changed(folder: Path, key: str, value: object) -> Path:
    file = folder / "params.yaml"
    values = yaml.safe_load(file.read_text() if file.is_file() else SAMPLE.read_text())
    section, name = key.split(".")
    values[section][name] = value
    file.write_text(yaml.safe_dump(values))
    return file


def test_settings_are_those_of_the_stages() -> None:
    settings, params = read_settings(SAMPLE), load(SAMPLE)
    stage = params.generate.model_dump(exclude={"deadline_s", "models", "samples"})
    assert settings.sampling(5) == SamplingConfig(**stage, seed=5)
    assert settings.crop.margin == params.crop.margin
    assert settings.limits.max_duration_s == params.limits.max_duration_s


def test_parameters_are_sought_in_the_folder_beside_it_and_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    models = tmp_path / "run" / "models"
    models.mkdir(parents=True)
    with pytest.raises(AnimationError, match=r"put params.yaml into the folder of the models"):
        parameter_file(models, None)
    for place in (Path("params.yaml"), models.parent / "params.yaml", models / "params.yaml"):
        place.write_text("")
        assert parameter_file(models, None) == place
    with pytest.raises(AnimationError, match=r"none.yaml: no such parameter file"):
        parameter_file(models, Path("none.yaml"))


def test_bad_parameters(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("- nothing")
    with pytest.raises(AnimationError, match=r"holds no parameters"):
        read_settings(file)
    file.write_text("seed: [")
    with pytest.raises(AnimationError, match=r"cannot be read"):
        read_settings(file)
    file.write_text("seed: 1\nlimits: {}")
    with pytest.raises(AnimationError, match=r"lacks limits.min_duration_s"):
        read_settings(file)
    file.unlink()
    with pytest.raises(AnimationError, match=r"generate.sampler is 'euler'; there are ddim, anc"):
        read_settings(changed(tmp_path, "generate.sampler", "euler"))


def test_models_are_loaded(tmp_path: Path) -> None:
    parts = load_models(run_folder(tmp_path), read_settings(tmp_path / "params.yaml"))
    assert [part.part for part in parts] == ["lips", "expression", "pose"]


def test_models_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(AnimationError, match=r"no trained models lips, expression, pose in .*mak"):
        load_models(tmp_path, read_settings(SAMPLE))


def test_a_damaged_model(tmp_path: Path) -> None:
    models = run_folder(tmp_path)
    file = models / "pose" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(AnimationError, match=r"the model in .*pose cannot be loaded: Safetensor"):
        load_models(models, read_settings(SAMPLE))
    (models / "pose" / "config.json").write_text(json.dumps({}))
    with pytest.raises(AnimationError, match=r"the model in .*pose cannot be loaded: KeyError"):
        load_models(models, read_settings(SAMPLE))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("speech.encoder", "wav2vec_large", r"trained on 2080 speech values a frame, but .* 2560"),
        ("speech.encoder", "other", r"there is no encoder 'other'"),
        ("speech.text_encoder", "clip_vit_b32", r"trained on 384 text values a token, but .* 512"),
        ("fit.face_model", "bfm", r"mouth values, but"),
        ("generate.steps", 501, r"section generate: "),
        ("generate.overlap", 40, r"section generate: an overlap of 40 frames"),
        ("generate.guidance", 2.0, r"generate.guidance is 2.0, but the model .* never trained wi"),
    ],
)
def test_models_of_other_parameters(tmp_path: Path, key: str, value: object, message: str) -> None:
    models = run_folder(tmp_path)
    settings = read_settings(changed(tmp_path, key, value))
    with pytest.raises(AnimationError, match=message):
        load_models(models, settings)
