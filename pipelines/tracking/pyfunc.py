"""The trained models as one MLflow model: a request with a photo and speech is answered by a video.

``export`` copies what a run has trained and its parameters. Third-party weights stay in the store
of assets, whose licences are not ours to pass on; a machine that serves fetches its own.
"""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.pyfunc.model import PythonModel
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

from dimitra.animation.animate import animate
from dimitra.animation.drawing import load_renderer
from dimitra.animation.errors import AnimationError
from dimitra.animation.models import ARTIFACT, OWN_RENDERER, load_models, model_files, own_renderer
from dimitra.animation.settings import PARAMS, parameter_file, read_settings
from dimitra.media.mark import metadata
from pipelines.closure import ROOT
from pipelines.errors import StageError

SCRIPT = Path(__file__).parent / "pyfunc_script.py"
UNSET = -1
"""Of ``seed`` and ``size``: that of the parameters, since MLflow's numbers cannot be null."""

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("binary", "image"), ColSpec("binary", "audio")]),
    outputs=Schema([ColSpec("string", name) for name in ("video", "mark", "text", "notices")]),
    params=ParamSchema(
        [
            ParamSpec("seed", "long", UNSET),
            ParamSpec("size", "long", UNSET),
            ParamSpec("no_head_pose", "boolean", False),
            ParamSpec("no_lip_contact", "boolean", False),
            ParamSpec("expression_scale", "double", 1.0),
            ParamSpec("transcript", "string", ""),
        ]
    ),
)


class TalkingHead(PythonModel):
    """Rows of photo and speech in, rows of videos out.

    Columns in: ``image`` and ``audio``, bytes of files (base64 in JSON). Columns out: ``video``,
    base64 of an mp4; ``mark``, JSON of the metadata that says it is generated; ``text``; and
    ``notices``, one a line.
    """

    def load_context(self, context: Any) -> None:
        """Check the models once, so that a server with damaged ones does not start."""
        self._models = Path(context.artifacts[ARTIFACT])
        settings = read_settings(parameter_file(self._models, None))
        load_models(self._models, settings)
        if own_renderer(settings) is not None:
            load_renderer(settings.render.renderer, settings, settings.render.size)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One video a row.

        Raises:
            AnimationError: a photo or recording will not do; names the row.
        """
        del context
        rows = model_input.to_dict("records")
        return pd.DataFrame([self._row(n, row, params or {}) for n, row in enumerate(rows)])

    def _row(self, number: int, row: dict[Any, Any], params: dict[str, Any]) -> dict[str, str]:
        seed, size = (int(params.get(name, UNSET)) for name in ("seed", "size"))
        with tempfile.TemporaryDirectory(prefix="dimitra-") as folder:
            out = Path(folder) / "video.mp4"
            try:
                made = animate(
                    bytes(row["image"]),
                    bytes(row["audio"]),
                    out,
                    models=self._models,
                    head_pose=not params.get("no_head_pose", False),
                    lip_contact=not params.get("no_lip_contact", False),
                    expression_scale=float(params.get("expression_scale", 1.0)),
                    seed=None if seed == UNSET else seed,
                    size=None if size == UNSET else size,
                    transcript=params.get("transcript") or None,
                )
            except AnimationError as error:
                raise AnimationError(f"row {number}: {error}") from error
            return {
                "video": base64.b64encode(out.read_bytes()).decode(),
                "mark": json.dumps(metadata(out.stem, made.lip_contact)),
                "text": made.text,
                "notices": "\n".join(made.notices),
            }


@contextmanager
def assembled(models: Path, params: Path | None) -> Iterator[dict[str, Any]]:
    """The arguments of MLflow's ``save_model``: all that a video needs, in a folder of its own.

    Args:
        models: folder of the trained parts.
        params: parameters under which they were trained; None looks in and beside the folder.

    Raises:
        AnimationError: the models will not do.
    """
    file = parameter_file(models, params)
    settings = read_settings(file)
    load_models(models, settings)
    renderer = own_renderer(settings)
    if renderer is not None:
        load_renderer(settings.render.renderer, settings, settings.render.size)
    with tempfile.TemporaryDirectory(prefix="dimitra-") as folder:
        own = Path(folder) / ARTIFACT
        own.mkdir()
        for name in model_files(models):
            (own / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(models / name, own / name)
        if renderer is not None:
            shutil.copytree(renderer, own / OWN_RENDERER)
        shutil.copyfile(file, own / PARAMS)
        yield {
            "python_model": str(SCRIPT),
            "artifacts": {ARTIFACT: str(own)},
            "signature": SIGNATURE,
            "code_paths": [str(ROOT / "dimitra"), str(ROOT / "pipelines")],
            "pip_requirements": str(ROOT / "constraints.txt"),
        }


def export(models: Path, params: Path | None, out: Path) -> None:
    """Write an MLflow model that needs this package, but no checkout.

    Args:
        models: folder of the trained parts.
        params: parameters under which they were trained; None looks in and beside the folder.
        out: folder to make.

    Raises:
        AnimationError: the models will not do.
        StageError: ``out`` is there already.
    """
    if out.exists():
        raise StageError(f"{out} is there already; choose another folder, or remove it")
    with assembled(models, params) as content:
        mlflow.pyfunc.save_model(path=str(out), **content)
