"""Small ONNX networks whose answers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper


def mean_colour(path: Path, shape: Sequence[int | str]) -> Path:
    """From ``[N, 3, ...]`` to the mean of each colour, ``[N, 3]``."""
    axes = list(range(2, len(shape)))
    node = helper.make_node("ReduceMean", ["in"], ["out"], axes=axes, keepdims=0)
    graph = helper.make_graph(
        [node],
        "mean",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path
