"""One process's share of the training of one part; alone, or a worker of Ray Train."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dimitra.cmdt.dataset import Corpus, ShardCorpus, Windows
from dimitra.cmdt.loss import LossWeights
from dimitra.cmdt.model import CMDT, CMDTConfig
from dimitra.cmdt.parts import ModelPart, part_columns
from dimitra.cmdt.peers import Peers
from dimitra.cmdt.resume import STATE, StepRecord
from dimitra.cmdt.training import TrainingConfig, train
from dimitra.learning.pace import StepTiming, deterministic
from dimitra.learning.state import TrainingState
from dimitra.morphable.coefficients import ANGLES
from dimitra.seeds import clip_seed
from pipelines.errors import StageError
from pipelines.params import Params, PartParams
from pipelines.stores.checkout import cache_folder
from pipelines.stores.storage import Storage
from pipelines.stores.work_cache import WorkCache
from pipelines.training.shard_bytes import check_shards
from pipelines.training.states import TrainingStates

LEAST_SPREAD = 0.05
"""Smallest scale of a value, as a share of the largest in its part: below is noise of the fit."""


@dataclass(frozen=True)
class Plan:
    """All that a process needs to train a part, wherever it runs.

    Attributes:
        params: of the run.
        part: which.
        shards: train shards: where they lie on a machine that sees the checkout, and their sha256.
        stats: ``stats.json`` of the shards.
        key: names the training.
        root: of the storage.
    """

    params: Params
    part: ModelPart
    shards: tuple[tuple[str, str], ...]
    stats: dict[str, Any]
    key: str
    root: str

    @property
    def columns(self) -> tuple[int, ...]:
        """The part's columns of the 70 motion values."""
        return part_columns(self.params.fit.face_model, self.part)

    @property
    def states(self) -> TrainingStates[TrainingState[StepRecord]]:
        """Its saved states."""
        return TrainingStates(Storage(self.root), self.key, STATE.decode)

    def windows(self, corpus: Corpus, null_probability: float | None = None) -> Windows:
        """The stream of its batches.

        Args:
            corpus: to train on.
            null_probability: in place of the parameters'.
        """
        params = self.params
        return Windows(
            corpus,
            self.columns,
            params.model.frames,
            params.model.window,
            params.train.batch,
            params.diffusion.steps,
            params.seed,
            params.diffusion.null_probability if null_probability is None else null_probability,
        )

    @property
    def config(self) -> TrainingConfig:
        """How the part is trained."""
        section, train = part_params(self.params, self.part), self.params.train
        return TrainingConfig(
            steps=section.steps,
            learning_rate=section.learning_rate,
            grad_clip=train.grad_clip,
            ema=train.ema,
            loss_weights=LossWeights(
                train.loss_weight, section.first_pose_weight, section.velocity_weight
            ),
            diffusion_steps=self.params.diffusion.steps,
            loss_space=self.params.diffusion.loss,
            weighting=self.params.diffusion.weighting,
            precision=train.precision,
            compiled=train.compile,
        )


def part_params(params: Params, part: str) -> PartParams:
    """Training section of a part."""
    section: PartParams = getattr(params.train, part)
    return section


def normalisation(
    stats: dict[str, Any], columns: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shift and scale [d] of a part's columns from the train statistics.

    Angles and translations differ in unit, so a floor on the scale is taken for each group alone.

    Raises:
        StageError: there were no train clips to take statistics of.
    """
    if not stats["frames"]:
        raise StageError("data/shards/stats.json rests on no train clips; check splits/")
    mean = torch.tensor(stats["expression"]["mean"] + stats["pose"]["mean"])
    spread = torch.tensor(stats["expression"]["std"] + stats["pose"]["std"])
    indices = torch.tensor(list(columns))
    group = torch.bucketize(indices, torch.tensor([ANGLES.start - 1, ANGLES.stop - 1]))
    scale = spread[indices]
    for number in sorted(set(group.tolist())):
        inside = group == number
        scale[inside] = scale[inside].clamp(min=LEAST_SPREAD * float(scale[inside].max()))
    return mean[indices], scale.clamp(min=1e-8)


def build_model(plan: Plan, corpus: Corpus) -> CMDT:
    """The untrained model of a part, sized by the parameters and the corpus."""
    drive = corpus.load(corpus.clip_ids[0]).drive
    sizes, columns = plan.params.model, plan.columns
    torch.manual_seed(clip_seed(plan.params.seed, "weights", plan.part))
    model = CMDT(
        CMDTConfig(
            motion=len(columns),
            frames=sizes.frames,
            speech_values=(2 * sizes.window + 1) * drive.features.shape[1],
            text_values=drive.text_tokens.shape[2],
            width=sizes.width,
            speech_hidden=sizes.speech_hidden,
            feed_forward=sizes.feed_forward,
            encoder_feed_forward=sizes.encoder_feed_forward,
            layers=sizes.layers,
            heads=sizes.heads,
            encoder_layers=sizes.encoder_layers,
            encoder_heads=sizes.encoder_heads,
            dropout=sizes.dropout,
            attention=sizes.attention,
            conditions=sizes.conditions,
            target=plan.params.diffusion.target,
            positions=sizes.positions,
        )
    )
    if plan.params.train.normalise:
        shift, scale = normalisation(plan.stats, columns)
        model.shift.copy_(shift)
        model.scale.copy_(scale)
    return model


def local_corpus(plan: Plan) -> ShardCorpus:
    """The train shards on this machine: where they lie, else fetched from the storage.

    Raises:
        StageError: a shard's bytes are not those of its sidecar.
    """
    cache = WorkCache(Storage(plan.root))
    shards = [(local_shard(Path(place), sha256, cache), sha256) for place, sha256 in plan.shards]
    check_shards(shards)
    return ShardCorpus([path for path, _ in shards])


def local_shard(place: Path, sha256: str, cache: WorkCache) -> Path:
    """A shard on this machine: fetched by one of its processes, kept for all and for later runs.

    The copies lie where the stages' own do: `dimitra cache gc` removes those long unused.
    """
    if place.is_file():
        return place
    copy = cache_folder() / "fetched" / sha256 / "shard.tar"
    copy.parent.mkdir(parents=True, exist_ok=True)
    with (copy.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if copy.is_file():
            os.utime(copy)
        else:
            cache.fetch_object(sha256, copy)
    return copy


def device_of(params: Params) -> torch.device:
    """Where a process trains.

    Raises:
        StageError: there is no such device.
    """
    if params.train.device == "cuda" and not torch.cuda.is_available():
        raise StageError(
            "train.device is cuda, but torch sees no GPU here; set train.device: cpu, or see "
            "`dimitra doctor`"
        )
    return torch.device(params.train.device)


def train_share(
    plan: Plan,
    peers: Peers,
    on_step: Callable[[StepRecord, StepTiming], None],
    on_resume: Callable[[int], None],
    on_state: Callable[[TrainingState[StepRecord]], None],
    corpus: Corpus | None = None,
) -> tuple[CMDT, list[StepRecord]]:
    """Train a part from its last saved state to its end, and save states on the way.

    Args:
        plan: what to train.
        peers: the processes that share the batches. They must see the same states.
        on_step: called after every step.
        on_resume: called with the number of steps that were done before, where there are any.
        on_state: called after a state was saved, by the first process alone.
        corpus: the plan's, where it is open already.

    Returns:
        The model with its averaged weights, and the curve.

    Raises:
        TrainingDivergedError: loss or gradient is not finite.
        StageError: no such device, or a shard's bytes are not those of its sidecar.
        BadClipError: a clip cannot be trained on.
    """
    device = device_of(plan.params)
    corpus = corpus or local_corpus(plan)
    model = build_model(plan, corpus)
    params = plan.params
    windows = plan.windows(corpus)
    resumed = plan.states.latest()
    if resumed is not None:
        on_resume(resumed.steps)

    def keep(state: TrainingState[StepRecord]) -> None:
        if peers.rank == 0:
            plan.states.write(state)
            on_state(state)

    with deterministic(params.train.threads):
        curve = train(
            model,
            windows,
            plan.config,
            device,
            on_step,
            peers=peers,
            resumed=resumed,
            save_every=params.ray.save_every,
            on_state=keep,
        )
    return model.cpu(), curve
