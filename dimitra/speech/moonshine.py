"""Moonshine base's encoder (Jeffries et al. 2024) in ONNX Runtime: 416 values, 41.67 Hz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dimitra.speech.errors import WeightsError


class MoonshineNetwork:
    """The network takes raw samples; three convolutions and transformer layers over the block.

    Kernels and strides are 127/64, 7/3 and 3/2: one vector every 384 samples from 895 samples.

    Args:
        model: the ``.ort`` (or ``.onnx``) file.

    Raises:
        FileNotFoundError: no such file.
        WeightsError: the file is damaged, or another network.
    """

    stride = 384
    field = 895
    normalised = False

    def __init__(self, model: Path) -> None:
        import onnxruntime

        if not model.is_file():
            raise FileNotFoundError(f"{model}: no such file; Moonshine's encoder is one .ort file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors have no public class
            raise WeightsError(f"{model} is no network that ONNX Runtime reads: {error}") from None
        inputs = [entry.name for entry in self._session.get_inputs()]
        dim = self._session.get_outputs()[0].shape[-1]
        if inputs != ["input_values"] or not isinstance(dim, int):
            raise WeightsError(
                f"{model} takes {inputs} and gives {dim!r} values; Moonshine's encoder takes "
                "['input_values'] and gives 416"
            )
        self.dim = dim

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        (encoded,) = self._session.run(None, {"input_values": samples[None]})
        features: NDArray[np.float32] = encoded[0]
        return features
