from __future__ import annotations

from pathlib import Path

import pytest

from dimitra.assets import asset_path
from dimitra.faces.backends import load_detector, load_landmarker
from dimitra.faces.detector import DlibDetector
from dimitra.faces.insightface import InsightFaceDetector
from dimitra.faces.shape_predictor import ShapePredictor
from tests.faces import networks


def test_backends_go_by_the_names_of_the_parameters(tmp_path: Path) -> None:
    assert isinstance(load_detector("dlib", None), DlibDetector)
    spots = networks.spot_detector(tmp_path / "det.onnx")
    assert isinstance(load_detector("insightface", spots), InsightFaceDetector)
    assert isinstance(load_landmarker("dlib", asset_path("dlib_68")), ShapePredictor)
    for kind, weights in (("dlib", tmp_path), ("insightface", None), ("mtcnn", None)):
        with pytest.raises(ValueError, match=kind):
            load_detector(kind, weights)
    with pytest.raises(ValueError, match="mtcnn"):
        load_landmarker("mtcnn", tmp_path)
    with pytest.raises(ValueError, match="no file with bytes"):
        load_landmarker("dlib", tmp_path / "gone.dat")
