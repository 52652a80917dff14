"""The trained motion models of a folder, held against the parameters beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dimitra.animation.errors import AnimationError
from dimitra.animation.settings import PARAMS, Settings
from dimitra.cmdt.checkpoint import CONFIG, WEIGHTS, TrainedPart, load
from dimitra.cmdt.chunks import chunk_bounds
from dimitra.cmdt.parts import mouth_columns, parts_of
from dimitra.diffusion.schedule import linear_schedule
from dimitra.diffusion.spacing import spaced_steps
from dimitra.morphable.coefficients import PARTS
from dimitra.shards import sha256_file
from dimitra.speech.encoders import SPEECH_MODELS, TEXT_DIMS

MLFLOW_MODEL, ARTIFACT = "MLmodel", "models"
"""The file by which a folder is a model of MLflow, and the name of the artifact in it."""
TRAINED = "trained"
"""In ``render.weights``: the renderer that the stage ``train_renderer`` has made."""
OWN_RENDERER = f"renderers/{TRAINED}"
"""Where it lies, beside the parameter file."""


def models_folder(folder: Path) -> Path:
    """The folder of the trained parts: ``folder`` itself, or that within an MLflow model.

    Raises:
        AnimationError: an MLflow model that is damaged, or holds no models of ours.
    """
    import yaml

    described = folder / MLFLOW_MODEL
    if not described.is_file():
        return folder
    try:
        content = yaml.safe_load(described.read_text())
        place = content["flavors"]["python_function"]["artifacts"][ARTIFACT]["path"]
        inside = (folder / str(place)).resolve()
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise AnimationError(
            f"{folder} is an MLflow model without the motion models: {described} names no artifact "
            f"{ARTIFACT!r} ({type(error).__name__}: {error}); make one with `dimitra model export`"
        ) from None
    if not inside.is_relative_to(folder.resolve()) or not inside.is_dir():
        raise AnimationError(
            f"{described} says that the models lie in {place}, which is no folder of {folder}; "
            "download the whole model again"
        )
    return inside


def model_files(folder: Path) -> list[str]:
    """Relative names of the files that the trained parts and the aligner are made of."""
    wanted = [f"{part}/{name}" for part in (*PARTS, "all") for name in (CONFIG, WEIGHTS)]
    wanted += ["aligner/aligner.json", "aligner/aligner.npz"]
    return [name for name in wanted if (folder / name).is_file()]


def file_digests(folder: Path, settings: Settings) -> dict[str, str]:
    """sha256 of every file of ours that a video is made by: models, parameters, own renderer."""
    digests = {name: sha256_file(folder / name) for name in model_files(folder)}
    digests[PARAMS] = sha256_file(settings.file)
    own = own_renderer(settings)
    if own is not None:
        digests |= {f"{OWN_RENDERER}/{name}": sha256_file(own / name) for name in (CONFIG, WEIGHTS)}
    return digests


def own_renderer(settings: Settings) -> Path | None:
    """Folder of the renderer that the run has trained, where the parameters ask for one."""
    if settings.render.renderer != "pirender" or settings.render.weights != TRAINED:
        return None
    return settings.file.parent / OWN_RENDERER


def load_models(folder: Path, settings: Settings) -> list[TrainedPart]:
    """The parts that together generate all motion.

    Args:
        folder: with one folder a part, as ``dvc repro`` leaves them in ``models/``.
        settings: of the run that trained them.

    Raises:
        AnimationError: a part is missing, damaged, or was trained under other parameters.
    """
    wanted = parts_of(settings.generate.models)
    missing = [
        part
        for part in wanted
        if not all((folder / part / name).is_file() for name in (CONFIG, WEIGHTS))
    ]
    if missing:
        raise AnimationError(
            f"no trained models {', '.join(missing)} in {folder.resolve()}; train them with "
            "`make repro` in the checkout, or name the folder that holds them with --models DIR"
        )
    parts = [_load(folder / part) for part in wanted]
    for part in parts:
        _check(part, settings, folder)
    return parts


def _load(folder: Path) -> TrainedPart:
    try:
        return load(folder)
    except MemoryError:
        raise
    except Exception as error:  # safetensors', json's and torch's errors have no common class
        raise AnimationError(
            f"the model in {folder} cannot be loaded: {type(error).__name__}: {error}; copy it "
            "again, or train it again"
        ) from error


def _check(part: TrainedPart, settings: Settings, folder: Path) -> None:
    """Refuse a model whose inputs these parameters do not give, or that they cannot sample."""
    config = part.model.config
    speech = settings.speech
    width = (2 * part.speech_window + 1) * _known(SPEECH_MODELS, speech.encoder, settings).dim
    for what, has, gives in (
        ("speech values a frame", config.speech_values, width),
        (
            "text values a token",
            config.text_values,
            _known(TEXT_DIMS, speech.text_encoder, settings),
        ),
        ("mouth values", list(part.mouth), list(mouth_columns(settings.fit.face_model))),
    ):
        if has != gives:
            raise AnimationError(
                f"the model {folder / part.part} was trained on {has} {what}, but "
                f"{settings.file} gives {gives}: it was trained under other parameters; name "
                "theirs with --params FILE"
            )
    generate = settings.generate
    try:
        spaced_steps(linear_schedule(part.diffusion_steps), generate.steps, generate.spacing)
        chunk_bounds(1, config.frames, generate.overlap)
    except ValueError as error:
        raise AnimationError(f"{settings.file}, section generate: {error}") from None
    if generate.guidance != 1.0 and part.null_probability == 0.0:
        raise AnimationError(
            f"{settings.file}: generate.guidance is {generate.guidance}, but the model "
            f"{folder / part.part} was never trained without speech; set it to 1"
        )


def _known(table: Any, name: str, settings: Settings) -> Any:
    if name not in table:
        raise AnimationError(
            f"{settings.file}: there is no encoder {name!r}; there are {', '.join(table)}"
        )
    return table[name]
