"""The published network: names, shapes and counts as in ``syncnet_v2.model``'s state dict."""

import pickle

import pytest
import torch

from dimitra.sync.network import SyncNet, read_syncnet
from dimitra.torch_file import TorchFileError

CONVOLUTIONS = {
    "netcnnaud.0": (64, 1, 3, 3),
    "netcnnaud.4": (192, 64, 3, 3),
    "netcnnaud.8": (384, 192, 3, 3),
    "netcnnaud.11": (256, 384, 3, 3),
    "netcnnaud.14": (256, 256, 3, 3),
    "netcnnaud.18": (512, 256, 5, 4),
    "netcnnlip.0": (96, 3, 5, 7, 7),
    "netcnnlip.4": (256, 96, 1, 5, 5),
    "netcnnlip.8": (256, 256, 1, 3, 3),
    "netcnnlip.11": (256, 256, 1, 3, 3),
    "netcnnlip.14": (256, 256, 1, 3, 3),
    "netcnnlip.18": (512, 256, 1, 6, 6),
    "netfcaud.0": (512, 512),
    "netfcaud.3": (1024, 512),
    "netfclip.0": (512, 512),
    "netfclip.3": (1024, 512),
}
NORMS = {
    "netcnnaud.1": 64,
    "netcnnaud.5": 192,
    "netcnnaud.9": 384,
    "netcnnaud.12": 256,
    "netcnnaud.15": 256,
    "netcnnaud.19": 512,
    "netcnnlip.1": 96,
    "netcnnlip.5": 256,
    "netcnnlip.9": 256,
    "netcnnlip.12": 256,
    "netcnnlip.15": 256,
    "netcnnlip.19": 512,
    "netfcaud.1": 512,
    "netfclip.1": 512,
}


def published_state():
    """A state dict of the published file's names and shapes, made without the module."""
    random = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in CONVOLUTIONS.items():
        state[f"{name}.weight"] = torch.randn(shape, generator=random) * 0.02
        state[f"{name}.bias"] = torch.randn(shape[0], generator=random) * 0.02
    for name, width in NORMS.items():
        state[f"{name}.weight"] = torch.ones(width)
        state[f"{name}.bias"] = torch.zeros(width)
        state[f"{name}.running_mean"] = torch.randn(width, generator=random) * 0.1
        state[f"{name}.running_var"] = torch.ones(width) * 0.5
    return state


def test_names_shapes_and_count():
    own = {k: v for k, v in SyncNet().state_dict().items() if "num_batches" not in k}
    wanted = published_state()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in wanted.items()}
    trained = sum(v.numel() for k, v in wanted.items() if "running" not in k)
    assert sum(p.numel() for p in SyncNet().parameters()) == trained == 13_631_616


def functional_sound(state, x):
    """The sound branch written out, pools at their published places."""
    from torch.nn import functional as f

    def layer(x, conv, norm, padding):
        x = f.conv2d(x, state[f"{conv}.weight"], state[f"{conv}.bias"], padding=padding)
        shape = (1, -1, 1, 1)
        mean, var = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        x = (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()
        return f.relu(x)

    x = layer(x[:, None], "netcnnaud.0", "netcnnaud.1", 1)
    x = f.max_pool2d(layer(x, "netcnnaud.4", "netcnnaud.5", 1), 3, (1, 2))
    x = layer(x, "netcnnaud.8", "netcnnaud.9", 1)
    x = layer(x, "netcnnaud.11", "netcnnaud.12", 1)
    x = f.max_pool2d(layer(x, "netcnnaud.14", "netcnnaud.15", 1), 3, 2)
    x = layer(x, "netcnnaud.18", "netcnnaud.19", 0).flatten(1)
    x = f.linear(x, state["netfcaud.0.weight"], state["netfcaud.0.bias"])
    mean, var = state["netfcaud.1.running_mean"], state["netfcaud.1.running_var"]
    x = f.relu((x - mean) / (var + 1e-5).sqrt())
    return f.linear(x, state["netfcaud.3.weight"], state["netfcaud.3.bias"])


def test_a_file_of_the_published_form_loads_and_computes(tmp_path):
    state = published_state()
    torch.save(state, tmp_path / "syncnet_v2.model")
    network = read_syncnet(tmp_path / "syncnet_v2.model")
    x = torch.randn(2, 13, 20, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network.sound(x), functional_sound(state, x), atol=1e-4, rtol=1e-4)
    pictures = torch.randint(0, 256, (1, 5, 224, 224, 3), dtype=torch.uint8)
    lips = network.lips(pictures)
    assert lips.shape == (1, 1024)
    planes = pictures.flip(-1).permute(0, 4, 1, 2, 3).float()  # BGR, as OpenCV reads
    wanted = network.netfclip(network.netcnnlip(planes).flatten(1))
    torch.testing.assert_close(lips, wanted, atol=1e-3, rtol=1e-3)  # sums in another order
    swapped = network.netfclip(network.netcnnlip(planes.flip(1)).flatten(1))
    assert float((lips - swapped).abs().max()) > 0.1


@pytest.mark.parametrize("fault", ["missing", "shape", "nan", "object"])
def test_other_files_are_refused(tmp_path, fault):
    path, state = tmp_path / "x.model", published_state()
    if fault == "missing":
        del state["netfcaud.3.bias"]
    elif fault == "shape":
        state["netfcaud.3.bias"] = torch.zeros(7)
    elif fault == "nan":
        state["netfcaud.3.bias"][0] = float("nan")
    if fault == "object":
        path.write_bytes(pickle.dumps(print))
    else:
        torch.save(state, path)
    with pytest.raises(TorchFileError, match=r"x\.model"):
        read_syncnet(path)
