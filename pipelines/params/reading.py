"""Reading ``params.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipelines.params.whole import Params


class ParamsError(ValueError):
    """``params.yaml`` breaks its schema; the message lists every key, value and allowed range."""


def _describe(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "value_error":
        return f"{key}: {error['msg']}" if key else str(error["msg"])
    return f"{key}: {error['input']!r} is not allowed: {error['msg']}"


def parse(values: Any, source: str = "params.yaml") -> Params:
    """Validate a parameter mapping.

    Raises:
        ParamsError: naming every offending key, its value and what is allowed.
    """
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        lines = [f"  {_describe(item)}" for item in error.errors()]
        raise ParamsError(f"{source} is not valid:\n" + "\n".join(lines)) from None


def load(path: Path | str = "params.yaml") -> Params:
    """Read and validate a parameter file.

    Raises:
        FileNotFoundError: no such file.
        ParamsError: it breaks the schema.
    """
    try:
        values = yaml.safe_load(Path(path).read_text())
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {error}") from None
    return parse(values, str(path))
