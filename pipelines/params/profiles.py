"""Profiles: whole parameter files in ``conf/``; ``params.yaml`` is a copy of one of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dimitra.shards import write_atomic
from pipelines.errors import StageError
from pipelines.params import Params, ParamsError, load
from pipelines.params.dvc_yaml import rewrite

FOLDER = Path("conf")
PARAMS = Path("params.yaml")
DVC = Path("dvc.yaml")

_GIT_TIMEOUT_S = 20.0


class ProfileError(StageError):
    """A profile cannot be found or used; the message says what to do."""


@dataclass(frozen=True)
class Change:
    """A parameter that differs between two files.

    Attributes:
        key: ``train.lips.steps``.
        left: its value in the first file, as YAML in one line; None where it has none.
        right: in the second.
    """

    key: str
    left: str | None
    right: str | None


def names() -> list[str]:
    """Profiles of this checkout.

    Raises:
        ProfileError: the working folder is no checkout.
    """
    found = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    if not found:
        raise ProfileError(f"no profile in {FOLDER.resolve()}; run this in the checkout's root")
    return found


def file_of(name: str) -> Path:
    """Parameter file of a profile's name, or of a path.

    Raises:
        ProfileError: there is neither.
    """
    profile = FOLDER / f"{name}.yaml"
    if profile.is_file():
        return profile
    if Path(name).is_file():
        return Path(name)
    raise ProfileError(
        f"{name!r} is neither a profile ({', '.join(names())}) nor a parameter file here"
    )


def copy_of() -> str | None:
    """The profile that ``params.yaml`` is a copy of, byte for byte; None where of none."""
    if not PARAMS.is_file():
        return None
    text = PARAMS.read_bytes()
    return next((n for n in names() if (FOLDER / f"{n}.yaml").read_bytes() == text), None)


def edited() -> bool:
    """Whether ``params.yaml`` holds edits that git could not give back."""
    return PARAMS.is_file() and copy_of() is None and not _committed()


def _committed() -> bool:
    """Whether HEAD has ``params.yaml`` as it is."""
    git = shutil.which("git")
    if git is None:
        return False
    result = subprocess.run(  # noqa: S603 - an argument list, no shell
        [git, "show", f"HEAD:./{PARAMS}"],
        capture_output=True,
        timeout=_GIT_TIMEOUT_S,
        check=False,
    )
    return result.returncode == 0 and result.stdout == PARAMS.read_bytes()


def use(name: str, *, force: bool = False) -> Params:
    """Make ``params.yaml`` a copy of a profile, and let ``dvc.yaml`` follow it.

    Args:
        name: of the profile.
        force: overwrite edits that are neither committed nor a profile's.

    Raises:
        ProfileError: no such profile, or ``params.yaml`` holds such edits.
        ParamsError: the profile breaks the schema.
    """
    if name not in names():
        raise ProfileError(f"no profile is called {name!r}; there are: {', '.join(names())}")
    if edited() and not force:
        raise ProfileError(
            f"{PARAMS} has edits that are neither committed nor a profile's; see them with "
            f"`git diff {PARAMS}`. Commit them, save them as {FOLDER}/NAME.yaml, or overwrite them "
            f"with: dimitra params use {name} --force"
        )
    source = FOLDER / f"{name}.yaml"
    params = load(source)
    text = rewrite(DVC.read_text(), Path.cwd(), params)
    write_atomic(PARAMS, source.read_bytes())
    if text != DVC.read_text():
        write_atomic(DVC, text.encode())
    return params


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Values by dotted key, each as YAML in one line; an empty section counts as a value."""
    out: dict[str, str] = {}
    for key, value in values.items():
        path = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            out |= flat(value, f"{path}.")
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=4096)
            out[path] = text.removesuffix("\n").removesuffix("\n...")
    return out


def _values(path: Path) -> dict[str, str]:
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ParamsError(f"{path} holds no parameters")
    return flat(content)


def compare(left: str, right: str) -> list[Change]:
    """Parameters that differ between two profiles or files, in the order of the first.

    Raises:
        ProfileError: one is not there.
        ParamsError: one is not YAML.
    """
    here, there = _values(file_of(left)), _values(file_of(right))
    keys = [*here, *(key for key in there if key not in here)]
    return [
        Change(key, here.get(key), there.get(key))
        for key in keys
        if here.get(key) != there.get(key)
    ]
