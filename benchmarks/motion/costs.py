"""Time and memory of the motion model: attention kinds, blocks, training steps.

Run as a module it measures one case and prints it as JSON, so that peak memory is that case's own.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dimitra.cmdt.attention import AttentionKind, Readable
from dimitra.cmdt.batch import Batch
from dimitra.cmdt.blocks import Block, CrossAttention, FeedForward, Memory, SelfAttention
from dimitra.cmdt.conditions import CONDITIONS, Condition, Conditions
from dimitra.cmdt.loss import LossWeights
from dimitra.cmdt.model import CMDT, CMDTConfig
from dimitra.cmdt.training import TrainingConfig, train_step
from dimitra.diffusion.schedule import linear_schedule
from pipelines.params import Params, load

ROOT = Path(__file__).resolve().parents[2]
FEATURES = {"sample": (416, 384), "paper": (1024, 512)}
"""Widths of speech and text features: Moonshine and MiniLM; XLSR-53 and CLIP."""
TEXT_TOKENS = 77
MOTION = 51
"""Values a frame of the expression model, the widest of the three."""
TRAINING = TrainingConfig(
    steps=1000,
    learning_rate=1e-4,
    grad_clip=0.5,
    ema=0.0,
    loss_weights=LossWeights(6.0, 0.0),
    diffusion_steps=500,
)


def profile_config(profile: str, **changes: Any) -> CMDTConfig:
    """The expression model of ``conf/<profile>.yaml``."""
    params: Params = load(ROOT / "conf" / f"{profile}.yaml")
    sizes = params.model.model_dump(exclude={"window"})
    speech, text = FEATURES[profile]
    config = CMDTConfig(
        motion=MOTION,
        speech_values=(2 * params.model.window + 1) * speech,
        text_values=text,
        target=params.diffusion.target,
        **sizes,
    )
    return replace(config, **changes)


def synthetic_batch(config: CMDTConfig, batch: int, frames: int, device: torch.device) -> Batch:
    """Random windows; the last sample's last tenth is padding, so that masks do their work."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(batch, frames, dtype=torch.bool)
    mask[-1, frames - frames // 10 :] = False

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    clean = normal(batch, frames, config.motion)
    full = torch.ones(batch, TEXT_TOKENS, dtype=torch.bool)
    conditions = Conditions(
        Condition("speech", normal(batch, frames, config.speech_values), mask),
        Condition("phonemes", torch.randint(0, 41, (batch, frames), generator=generator), mask),
        Condition("text", normal(batch, TEXT_TOKENS, config.text_values), full),
        Condition("first_pose", clean[:, :1], full[:, :1]),
    )
    return Batch(
        clip_ids=tuple(str(index) for index in range(batch)),
        clean=clean.to(device),
        mask=mask.to(device),
        conditions=conditions.to(device),
        noise=normal(batch, frames, config.motion).to(device),
        steps=torch.randint(0, 500, (batch,), generator=generator).to(device),
        keys=torch.arange(batch, device=device),
    )


def seconds_of(work: Callable[[], object], rounds: int, device: torch.device) -> float:
    """Median seconds of ``work``, after one turn that does not count.

    On one CPU thread those of the processor, so that other processes disturb little; else those on
    the wall.
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter

    def once() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return clock() - start

    once()
    return statistics.median(once() for _ in range(rounds))


def peak_mb(device: torch.device) -> float:
    """Most memory so far: of the GPU's allocator, or resident memory of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def attention_case(
    kind: AttentionKind, frames: int, batch: int, layers: int, rounds: int, device: torch.device
) -> dict[str, float]:
    """Forward and backward of the model at the paper's widths, decoder and encoders ``layers``."""
    config = profile_config("paper", frames=frames, layers=layers, encoder_layers=1, attention=kind)
    torch.manual_seed(0)
    model = CMDT(config).to(device)
    data = synthetic_batch(config, batch, frames, device)
    before = peak_mb(device)

    def work() -> None:
        model.zero_grad(set_to_none=True)
        predicted = model(data.clean, data.steps, data.mask, data.conditions)
        predicted.square().mean().backward()

    taken = seconds_of(work, rounds, device)
    return {"seconds": taken, "peak_mb": peak_mb(device) - before}


class TwoAttentionBlock(nn.Module):
    """The layout of MotionDiffuse's decoder layer, from this project's own sub-blocks.

    Self-attention, one cross-attention to the text with its residual, feed-forward.
    """

    def __init__(self, width: int, hidden: int, style_width: int, heads: int) -> None:
        super().__init__()
        self.self_attention = SelfAttention(width, style_width, heads, 0.0, "efficient")
        self.cross_attention = CrossAttention(width, style_width, heads, 0.0, "efficient")
        self.feed_forward = FeedForward(width, hidden, style_width, 0.0)

    def forward(self, stream: Tensor, mask: Tensor, style: Tensor, text: Readable) -> Tensor:
        stream = self.self_attention(stream, mask, style)
        stream = stream + self.cross_attention(stream, text, style)
        refined: Tensor = self.feed_forward(stream, style)
        return refined


def block_case(frames: int, batch: int, rounds: int, device: torch.device) -> dict[str, float]:
    """Forward and backward of one decoder block of each layout, at the paper's widths."""
    config = profile_config("paper")
    width, style_width = config.width, 4 * config.width
    torch.manual_seed(0)
    block = Block(
        width, config.feed_forward, style_width, config.heads, 0.0, "efficient", CONDITIONS
    ).to(device)
    plain = TwoAttentionBlock(width, config.feed_forward, style_width, config.heads).to(device)
    stream, speech = torch.randn(2, batch, frames, width, device=device)
    stream.requires_grad_()
    style = torch.randn(batch, style_width, device=device)
    mask = torch.ones(batch, frames, dtype=torch.bool, device=device)

    def memory(tokens: int) -> Memory:
        full = torch.ones(batch, tokens, dtype=torch.bool, device=device)
        return Memory(torch.randn(batch, tokens, width, device=device), full)

    memories = {"phonemes": memory(frames), "text": memory(TEXT_TOKENS), "first_pose": memory(1)}

    def ours() -> None:
        out = block(stream, mask, style, speech, block.read(memories))
        out.square().mean().backward()

    def theirs() -> None:
        text = plain.cross_attention.read(memories["text"])
        plain(stream, mask, style, text).square().mean().backward()

    return {
        "seconds": seconds_of(ours, rounds, device),
        "two_attention_seconds": seconds_of(theirs, rounds, device),
    }


def step_case(
    profile: str, batch: int, rounds: int, device: torch.device, bf16: bool, compiled: bool
) -> dict[str, float]:
    """Whole optimiser steps on windows of N frames, and the arithmetic in one."""
    from torch.utils.flop_counter import FlopCounterMode

    config = profile_config(profile)
    torch.manual_seed(0)
    model = CMDT(config).to(device)
    called: nn.Module = torch.compile(model) if compiled else model  # type: ignore[assignment]
    data = synthetic_batch(config, batch, config.frames, device)
    schedule = linear_schedule(TRAINING.diffusion_steps)
    optimiser = torch.optim.Adam(model.parameters())

    training = replace(TRAINING, precision="bfloat16" if bf16 else "float32")

    def work(network: nn.Module = called) -> None:
        train_step(network, model, data, schedule, optimiser, 100, training)

    counter = FlopCounterMode(display=False)
    with counter:
        work(model)
    taken = seconds_of(work, rounds, device)
    flops = float(counter.get_total_flops())
    return {
        "weights": float(sum(weight.numel() for weight in model.parameters())),
        "steps_per_second": 1.0 / taken,
        "clips_per_second": batch / taken,
        "flops_per_step": flops,
        "flops_per_second": flops / taken,
        "peak_mb": peak_mb(device),
    }


CASES: dict[str, Callable[..., dict[str, float]]] = {
    "attention": attention_case,
    "block": block_case,
    "step": step_case,
}


def apart(case: str, threads: int, device: str, **arguments: Any) -> dict[str, float] | None:
    """A case in a process of its own; None where it ran out of memory.

    Raises:
        RuntimeError: it failed otherwise, with what it said.
    """
    request = json.dumps({"case": case, "threads": threads, "device": device} | arguments)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.motion.costs", request],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        found: dict[str, float] = json.loads(done.stdout)
        return found
    if done.returncode == -9 or "OutOfMemory" in done.stderr or "not enough memory" in done.stderr:
        return None
    raise RuntimeError(f"{request}: {done.stderr[-2000:]}")


def main() -> None:
    """Measure the case that the argument names and write it to standard output."""
    request = json.loads(sys.argv[1])
    torch.set_num_threads(request.pop("threads"))
    device = torch.device(request.pop("device"))
    case = CASES[request.pop("case")]
    sys.stdout.write(json.dumps(case(device=device, **request)))


if __name__ == "__main__":
    main()
