"""What `dimitra evaluate` is asked to measure, checked, and what its numbers are numbers of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dimitra.assets import AssetError, asset_path, asset_sha256, digest
from dimitra.evaluation.definitions import GROUPS
from dimitra.evaluation.files import UsageError
from dimitra.evaluation.film import SIZE
from dimitra.evaluation.tasks import Settings
from dimitra.media.video import FPS
from dimitra.metrics.version import code_digest as metric_code
from dimitra.sync import compact
from dimitra.sync.pictures import Region
from pipelines.ablations.experiments import git
from pipelines.closure import ROOT, closure, code_digest
from pipelines.errors import StageError
from pipelines.params import load
from pipelines.stores.work_cache import digest_of, package_version

MEASURER = "pipelines.evaluation.foreign_videos"
"""Module whose import closure is the code of the numbers."""
LANDMARKS = "dlib_68"
WITHOUT_PUBLISHED = (
    "Without the published network: --sync-model evaluators/sync, the one that a run has trained "
    "(for this pipeline's own corpus alone: docs/evaluate.md)"
)
PACKAGES = (
    "av",
    "dlib-bin",
    "numba",
    "numpy",
    "pillow",
    "scipy",
    "soundfile",
    "soxr",
    "torch",
)
"""Distributions whose version the numbers depend on."""
_INSIGHTFACE = ("insightface", "onnxruntime", "opencv-contrib-python")


def settings_of(
    groups: Sequence[str],
    sync_model: Path | None,
    sync_weights: str | None,
    sync_region: Region | None,
    crop: Path | None,
    *,
    max_reference_missed: float,
    max_difference_s: float,
) -> Settings:
    """Check what was asked for, before anything is measured.

    Args:
        groups: of ``GROUPS``.
        sync_model: folder of a trained network.
        sync_weights: asset or file of the published network.
        sync_region: of the published network; None for its default.
        crop: parameter file, where videos are to be cropped.
        max_reference_missed: see ``Settings``.
        max_difference_s: see ``Settings``.

    Raises:
        UsageError: options do not go together.
        AssetError: weights are missing.
        FileNotFoundError: the model's folder or the parameter file is.
        ParamsError: the parameter file breaks the schema.
    """
    unknown = sorted(set(groups) - GROUPS.keys())
    if unknown:
        raise UsageError(f"--metrics {', '.join(unknown)}: there are {', '.join(GROUPS)}")
    if sync_model is not None and sync_weights is not None:
        raise UsageError("--sync-model and --sync-weights are two networks; give one")
    sections = None if crop is None else load(crop).model_dump(include={"crop", "limits"})
    if sync_model is not None:
        compact.load(sync_model)
        weights, network = str(sync_model), "trained"
    elif sync_weights is not None:
        _check_published(sync_weights)
        weights, network = sync_weights, "published"
    else:
        weights, network = "", None
    region = sync_region or ("tracks" if network == "published" else "mouth")
    if (region == "mouth") != (network != "published"):
        raise UsageError(
            f"--sync-region {region}: a run's network sees the mouth, the published one tracks or "
            "the frame"
        )
    return Settings(
        groups=tuple(sorted(set(groups))),
        network=network,  # type: ignore[arg-type] # one of the three
        weights=weights,
        region=region,
        crop=None if sections is None else json.dumps(sections, sort_keys=True),
        max_reference_missed=max_reference_missed,
        max_difference_s=max_difference_s,
    )


def _check_published(weights: str) -> None:
    """Whether the published network's weights are here.

    Raises:
        AssetError: they are not; the message names the network that needs no download.
    """
    try:
        asset_path(weights)
    except AssetError as error:
        raise AssetError(f"{error}. {WITHOUT_PUBLISHED}") from None


def _cropping(settings: Settings) -> tuple[dict[str, str], tuple[str, ...]]:
    """Weights that cropping loads, by reference, and its further packages; none without it."""
    if settings.crop is None:
        return {}, ()
    crop = json.loads(settings.crop)["crop"]
    references = dict.fromkeys((crop["landmarks_weights"], crop["detector_weights"]))
    weights = {one: asset_sha256(one) for one in references if one is not None}
    insightface = "insightface" in (crop["detector"], crop["landmarks"])
    return weights, _INSIGHTFACE if insightface else ()


def protocol(settings: Settings) -> dict[str, Any]:
    """The options that a number depends on, as `summary.json` has them."""
    return {
        "frames": f"{SIZE}x{SIZE}, {FPS} a second",
        "metrics": list(settings.groups),
        "crop": None if settings.crop is None else json.loads(settings.crop)["crop"],
        "max_ground_truth_missed": settings.max_reference_missed,
        "max_length_difference_s": settings.max_difference_s,
    }


def identity(settings: Settings) -> dict[str, Any]:
    """What a number is a number of: code, weights, options, packages.

    Returns:
        Named digests and options, and ``sha256`` over all of them: two numbers are of one kind if
        theirs are equal.

    Raises:
        AssetError: weights are missing.
    """
    sync = None
    if settings.network == "trained":
        sync = digest(Path(settings.weights))
    elif settings.network == "published":
        sync = asset_sha256(settings.weights)
    crop, packages = _cropping(settings)
    about = {
        "metric_code_sha256": metric_code(),
        "protocol_code_sha256": code_digest(MEASURER),
        "landmarks": {"asset": LANDMARKS, "sha256": asset_sha256(LANDMARKS)},
        "sync": {"network": settings.network, "region": settings.region, "sha256": sync},
        "crop_weights": crop,
        "protocol": protocol(settings),
        "packages": {name: package_version(name) for name in sorted((*PACKAGES, *packages))},
    }
    limits = None if settings.crop is None else json.loads(settings.crop)["limits"]
    return {**about, "sha256": digest_of({**about, "limits": limits})}


def code_commit(root: Path = ROOT) -> dict[str, Any]:
    """The last commit that touched the code of the numbers, and the files of it that differ.

    Both are None where the code does not lie in a git checkout (an installed package).
    """
    files = [path.as_posix() for path in closure(MEASURER, root)]
    try:
        commit = git(root, "log", "-1", "--format=%H", "--", *files).strip()
        changed = git(root, "status", "--porcelain", "--", *files).splitlines()
    except StageError:
        return {"commit": None, "uncommitted": None}
    return {"commit": commit or None, "uncommitted": sorted(line[3:] for line in changed)}
