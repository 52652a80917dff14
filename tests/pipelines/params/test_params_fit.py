"""Which fits ``params.yaml`` may ask for."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.params import ParamsError, parse

SAMPLE: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[3] / "conf" / "sample.yaml").read_text()
)
BFM: dict[str, Any] = {
    "face_model": "bfm",
    "face_model_weights": "bfm_2009",
    "method": "deng",
    "encoder_weights": "deng_epoch_20",
    "photometric": False,
}
GIVEN: dict[str, Any] = BFM | {
    "method": "precomputed",
    "encoder_weights": None,
    "coefficients": "datasets/coefficients",
}


def with_fit(fit: dict[str, Any], renderer: str = "pirender") -> dict[str, Any]:
    values = copy.deepcopy(SAMPLE)
    values["fit"] |= fit
    values["render"] |= {"renderer": renderer, "weights": "pirender_256"}
    return values


@pytest.mark.parametrize(
    "fit",
    [
        BFM,
        GIVEN,
        GIVEN | {"coefficients_offset": 2},
        GIVEN | {"face_model_weights": None},
    ],
)
def test_fits_with_the_basel_model(fit: dict[str, Any]) -> None:
    assert parse(with_fit(fit)).fit.face_model == "bfm"


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ({"face_model": "bfm"}, "'encoder', but face_model 'bfm' is had by deng or precomputed"),
        (BFM | {"face_model": "open_head"}, "'open_head' is had by encoder or landmarks"),
        ({"face_model_weights": "bfm_2009"}, "but the open head is made of anny_head"),
        ({"face_model_weights": None}, "but the open head is made of anny_head"),
        ({"encoder_weights": "deng_epoch_20"}, "encoder_weights is 'deng_epoch_20', but not read"),
        ({"coefficients": "folder"}, "coefficients is 'folder', but not read with method"),
        ({"coefficients_offset": 2}, "coefficients_offset is 2, but not read with method"),
        (BFM | {"photometric": True}, "photometric is true, but"),
        (BFM | {"encoder_weights": None}, "encoder_weights is null, but needed with method 'deng'"),
        (BFM | {"face_model_weights": None}, "face_model_weights is null, but needed"),
        (GIVEN | {"coefficients": None}, "coefficients is null, but needed"),
        (GIVEN | {"encoder_weights": "deng_epoch_20"}, "but not read with method 'precomputed'"),
    ],
)
def test_a_fit_that_makes_no_sense_is_refused(fit: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        parse(with_fit(fit))


def test_the_mesh_renderer_refuses_the_basel_models_motion() -> None:
    with pytest.raises(ParamsError, match="'mesh', which draws the open head, but fit.face_model"):
        parse(with_fit(BFM, renderer="mesh"))
