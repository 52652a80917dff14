"""Train a neural renderer on the corpus's own crops: `python -m pipelines.train_renderer`.

Off by default: DVC runs it where `train_renderer.models` is `[trained]`. PIRender's network learns
from pairs of frames of the train clips; `render.weights: trained` then draws with it. Killed at any
time, the same command goes on from the last saved state (every `ray.save_every` steps).
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from dimitra.assets import asset_path, asset_sha256
from dimitra.learning.pace import deterministic
from dimitra.learning.state import TrainingState
from dimitra.render import renderer_checkpoint
from dimitra.render.pirender_network import PIRenderNet, PIRenderSettings
from dimitra.render.reconstruction import PerceptualLoss, PixelLoss, Reconstruction
from dimitra.render.renderer_pairs import CropCorpus, Pairs
from dimitra.render.renderer_state import STATE, RendererStep
from dimitra.render.renderer_training import (
    DescriptorScale,
    RendererDivergedError,
    RendererTraining,
    train_renderer,
)
from dimitra.render.vgg import read_vgg19
from dimitra.seeds import clip_seed
from dimitra.shards import list_sidecars, read_sidecar
from dimitra.torch_file import TorchFileError
from pipelines.closure import code_digest
from pipelines.errors import StageError
from pipelines.lineage.record import with_lineage
from pipelines.params import Params, load
from pipelines.runtime.inputs import require_made
from pipelines.runtime.mainguard import guarded
from pipelines.runtime.progress import console
from pipelines.stores.storage import Storage
from pipelines.stores.work_cache import WorkCache, digest_of, local_shards, package_version
from pipelines.training.record import recorded
from pipelines.training.shard_bytes import check_shards
from pipelines.training.states import TrainingStates

CROPS, MOTION, SPLIT = Path("data/crops"), Path("data/motion"), Path("data/split/split.parquet")
OUTPUT = Path("renderers/trained")
LEAST_SPREAD = 0.05
"""Smallest scale of a descriptor value, as a share of the largest of its kind."""
_KINDS = (slice(0, 64), slice(64, 67), slice(67, 70), slice(70, 71), slice(71, 73))
"""Expression, angles, translation, size of the face, its place: each in a unit of its own."""
_FLOOR = 1e-3
_STATISTICS_CLIPS = 2000
"""Clips that shift and scale are taken from, evenly spread over the corpus."""
_SHOWN = 4
_OF_THE_RUN = {"models", "cache_mb"}
"""Keys of ``train_renderer`` on which no byte depends."""


@dataclass(frozen=True)
class RendererPlan:
    """What is trained from what.

    Attributes:
        params: of the run.
        corpus: the train clips.
        key: names the training.
        code: digest of the code, which is in the key.
        inputs: shard to sha256.
        states: its saved states.
    """

    params: Params
    corpus: CropCorpus
    key: str
    code: str
    inputs: dict[str, str]
    states: TrainingStates[TrainingState[RendererStep]]

    @property
    def settings(self) -> PIRenderSettings:
        """Widths of the network."""
        one = self.params.train_renderer
        return PIRenderSettings(one.descriptor, one.widest, one.warp_width, one.edit_width)

    @property
    def config(self) -> RendererTraining:
        """How it is trained."""
        one = self.params.train_renderer
        return RendererTraining(
            steps=one.steps,
            warp_steps=one.warp_steps,
            learning_rate=one.learning_rate,
            decay=one.decay,
            decay_every=one.decay_every,
            ema=one.ema,
            warp_weight=one.warp_weight,
            final_weight=one.final_weight,
            precision=one.precision,
        )


def make_plan(params: Params) -> RendererPlan:
    """Find the train clips' crops and motion.

    Raises:
        StageError: an earlier stage has not run, there are no train clips, no such device, or a
            shard's bytes are not those of its sidecar.
    """
    section = params.train_renderer
    if section.device == "cuda" and not torch.cuda.is_available():
        raise StageError(
            "train_renderer.device is cuda, but torch sees no GPU here; set it to cpu, or see "
            "`dimitra doctor`"
        )
    made = {CROPS / "balance.json": "crop", MOTION / "balance.json": "fit", SPLIT: "split"}
    require_made(made)
    rows = pq.read_table(SPLIT, columns=["clip_id", "split"]).to_pylist()
    wanted = {row["clip_id"] for row in rows if row["split"] == "train"}
    held = [_held(folder) for folder in (CROPS, MOTION)]
    clip_ids = sorted(wanted & held[0] & held[1])
    if not clip_ids:
        raise StageError(f"no train clips in both {CROPS} and {MOTION}; check splits/")
    cache = WorkCache.of(params.storage.root)
    inputs = {
        f"{folder.name}/{path.name}": sidecar.sha256
        for folder in (CROPS, MOTION)
        for path, sidecar in sorted(list_sidecars(folder).items())
        if not set(clip_ids).isdisjoint(sidecar.clip_ids)
    }
    crops, motion = (local_shards(folder, cache, clip_ids) for folder in (CROPS, MOTION))
    check_shards((path, read_sidecar(path).sha256) for path in (*crops, *motion))
    corpus = CropCorpus(
        crops,
        motion,
        clip_ids,
        params.crop.size,
        section.size,
        section.cache_mb << 20,
    )
    vgg = None if section.vgg_weights is None else asset_sha256(section.vgg_weights)
    code = code_digest("pipelines.train_renderer")
    key = digest_of(
        {
            "section": section.model_dump(exclude=_OF_THE_RUN),
            "vgg": vgg,
            "face_model": params.fit.face_model,
            "crop_size": params.crop.size,
            "seed": params.seed,
            "clips": clip_ids,
            "inputs": inputs,
            "code": code,
            "torch": package_version("torch"),
        }
    )
    states = TrainingStates(Storage(cache.storage.root), key, STATE.decode)
    return RendererPlan(params, corpus, key, code, inputs, states)


def _held(folder: Path) -> set[str]:
    return {one for sidecar in list_sidecars(folder).values() for one in sidecar.clip_ids}


def descriptor_scale(corpus: CropCorpus) -> DescriptorScale:
    """Mean and spread of the descriptors of the train clips, with a floor for each kind."""
    every = -(-len(corpus.clip_ids) // _STATISTICS_CLIPS)
    values = np.concatenate([corpus.coefficients(one) for one in corpus.clip_ids[::every]])
    shift, scale = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
    for kind in _KINDS:
        scale[kind] = scale[kind].clip(min=max(LEAST_SPREAD * scale[kind].max(), _FLOOR))
    return DescriptorScale(torch.from_numpy(shift).float(), torch.from_numpy(scale).float())


def build_loss(params: Params) -> Reconstruction:
    """The loss that the parameters name, with VGG19's weights where it needs them.

    Raises:
        AssetError: the weights are missing.
        StageError: they are another network's.
    """
    section = params.train_renderer
    if section.vgg_weights is None:
        return PixelLoss()
    try:
        features = read_vgg19(asset_path(section.vgg_weights))
    except TorchFileError as error:
        raise StageError(f"train_renderer.vgg_weights: {error}") from error
    return PerceptualLoss(features.to(section.device))


def sheet(network: PIRenderNet, scale: DescriptorScale, pairs: Pairs, device: torch.device) -> Any:
    """A picture [3 S, n S, 3] uint8: photos, drawn, true; of the first train pairs."""
    from dimitra.render.pirender import to_bytes

    batch = pairs.batch(0).to(device)
    with torch.inference_mode():
        drawn = network(batch.photo[:_SHOWN], scale(batch.window[:_SHOWN])).picture
    rows = [
        to_bytes(one).cpu().numpy() for one in (batch.photo[:_SHOWN], drawn, batch.target[:_SHOWN])
    ]
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def train(params: Params, output: Path = OUTPUT) -> None:
    """Train and save the renderer.

    Raises:
        StageError: inputs are missing, no such device, or the training diverged.
    """
    plan = make_plan(params)
    section, config = params.train_renderer, plan.config
    device = torch.device(section.device)
    torch.manual_seed(clip_seed(params.seed, "weights", "renderer"))
    network = PIRenderNet(plan.settings)
    scale = descriptor_scale(plan.corpus) if section.normalise else DescriptorScale.none()
    pairs = Pairs(plan.corpus, section.pairs, params.seed)
    loss_of = build_loss(params)
    shown = PIRenderNet(plan.settings).to(device).eval()
    values = section.model_dump(exclude=_OF_THE_RUN) | {
        "seed": params.seed,
        "face_model": params.fit.face_model,
        "clips": len(plan.corpus.clip_ids),
    }
    tags = {f"input.{name}": sha256 for name, sha256 in plan.inputs.items()}
    resumed = plan.states.latest()
    with (
        recorded(
            "train_renderer",
            config.steps,
            values,
            tags,
            work_key=plan.key,
            code_digest=plan.code,
            mlflow=params.ray.mlflow,
        ) as record,
        # Not on a GPU: the gradients of sampling and of resizing have no deterministic form there.
        deterministic(section.threads, algorithms=device.type == "cpu"),
    ):

        def keep(state: TrainingState[RendererStep]) -> None:
            plan.states.write(state)
            shown.load_state_dict(state.averaged())
            name = f"pictures/step-{state.steps:07d}.png"
            record.image(sheet(shown, scale, pairs, device), name)

        if resumed is not None:
            record.resumed(resumed.steps)
        try:
            curve = train_renderer(
                network,
                pairs,
                scale,
                loss_of,
                config,
                device,
                record.step,
                resumed=resumed,
                save_every=params.ray.save_every,
                on_state=keep,
            )
        except (RendererDivergedError, ValueError) as error:
            raise StageError(f"train_renderer: {error}") from error
        renderer_checkpoint.save(
            output,
            scale.folded(network.cpu().state_dict()),
            plan.settings,
            params.fit.face_model,
            section.size,
            asdict(config)
            | {
                "pairs": section.pairs,
                "loss": section.loss,
                "vgg_weights": section.vgg_weights,
                "normalise": section.normalise,
                "seed": params.seed,
                "inputs": plan.inputs,
            },
            curve,
        )
        # Where `dimitra animate` looks for it beside `models`.
        record.keep(output, f"models/renderers/{output.name}")
    plan.states.clear()
    console.print(f"train_renderer: {config.steps} steps, last loss {curve[-1].loss:.4f}")


def main() -> None:
    """Run the stage."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    train(load())


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main)))
