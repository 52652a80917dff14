"""Networks in the layout of InsightFace's files, built from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)
ANCHORS = 2
KINDS = (("score", 1), ("bbox", 4), ("kps", 10))
MESH_POINTS = 1103


def _save(
    path: Path, nodes: list[Any], ports: tuple[Any, list[Any]], weights: dict[str, Any]
) -> Path:
    graph = helper.make_graph(
        nodes,
        "network",
        [ports[0]],
        ports[1],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def detector(
    path: Path,
    heads: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]],
    size: tuple[Any, Any] = ("height", "width"),
    points: bool = True,
) -> Path:
    """A SCRFD of one layer: at each stride, linear heads on the mean of the cell's pixels.

    Args:
        path: file to write.
        heads: ``score_8``, ``bbox_8``, ...: weights ``[2 W, 3]`` and bias ``[2 W]``.
        size: height and width of the pictures; names are free.
        points: also give the five points.
    """
    nodes, outputs, weights = [], [], {}
    for name, width in KINDS[: 3 if points else 2]:
        for stride in STRIDES:
            port = f"{name}_{stride}"
            weight, bias = heads[port]
            weights |= {f"{port}_w": weight[..., None, None], f"{port}_b": bias}
            weights[f"{port}_shape"] = np.array([-1, width], np.int64)
            cell = f"{port}_cell"
            nodes += [
                helper.make_node(
                    "AveragePool",
                    ["input.1"],
                    [cell],
                    kernel_shape=[stride] * 2,
                    strides=[stride] * 2,
                ),
                helper.make_node("Conv", [cell, f"{port}_w", f"{port}_b"], [f"{port}_c"]),
                helper.make_node("Transpose", [f"{port}_c"], [f"{port}_t"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{port}_t", f"{port}_shape"], [f"{port}_r"]),
                helper.make_node("Sigmoid" if name == "score" else "Relu", [f"{port}_r"], [port]),
            ]
            outputs.append(helper.make_tensor_value_info(port, TensorProto.FLOAT, [None, width]))
    picture = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, *size])
    return _save(path, nodes, (picture, outputs), weights)


def spot_detector(path: Path, size: tuple[Any, Any] = ("height", "width")) -> Path:
    """Takes a bright spot for the middle of a face 80 pixels high and 60 wide.

    The score of a spot of brightness v is the sigmoid of (v - 127.5) / 32.
    """
    heads = {}
    for stride in STRIDES:
        scale = np.full((ANCHORS, 3), 4 / 3 if stride == 8 else 0.0, np.float32)
        offset = np.full(ANCHORS, 0.0 if stride == 8 else -9.0, np.float32)
        heads[f"score_{stride}"] = scale, offset
        sides = np.tile(np.array([30, 40, 30, 40], np.float32) / stride, ANCHORS)
        heads[f"bbox_{stride}"] = np.zeros((len(sides), 3), np.float32), sides
        heads[f"kps_{stride}"] = (
            np.zeros((10 * ANCHORS, 3), np.float32),
            np.zeros(10 * ANCHORS, np.float32),
        )
    return detector(path, heads, size)


def landmarks(
    path: Path, weight: NDArray[np.float32], bias: NDArray[np.float32], size: int = 192
) -> Path:
    """Linear in the means of 48 x 48 pixels: ``[48, values]`` and ``[values]``."""
    nodes = [
        helper.make_node(
            "AveragePool", ["data"], ["cells"], kernel_shape=[48] * 2, strides=[48] * 2
        ),
        helper.make_node("Flatten", ["cells"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["fc1"]),
    ]
    picture = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["None", 3, size, size])
    values = helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, len(bias)])
    return _save(path, nodes, (picture, [values]), {"weight": weight, "bias": bias})


def steady_landmarks(path: Path, points: NDArray[np.float32]) -> Path:
    """Always the same 68 points ``[68, 2]``, in -1..1 of the network's picture."""
    mesh = np.zeros((MESH_POINTS, 3), np.float32)
    mesh[-68:, :2] = points
    return landmarks(path, np.zeros((48, mesh.size), np.float32), mesh.ravel())
