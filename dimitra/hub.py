"""Models of the Hugging Face hub: which of their files are taken, and from where.

``huggingface_hub`` brings the user's token, mirror (``HF_ENDPOINT``), cache (``HF_HOME``) and
offline mode (``HF_HUB_OFFLINE``) along. Files of its cache are used before anything is downloaded.
No code of a model is ever taken; pickled weights only where the model has no others, and loaders
read those with ``weights_only``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from dimitra.asset_sources import Progress, watched
from dimitra.assets import AssetError, HubModel

_TEXTS = (".json", ".txt")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_OF_A_TRAINING = ("training_args", "optimizer", "scheduler", "rng_state", "scaler")


def chosen(names: Iterable[str], model: HubModel) -> list[str]:
    """Files that are taken of a model's: configuration, vocabulary, and one form of the weights.

    Weights: safetensors; without them CTranslate2's ``model.bin``; without that pickles. Those at
    the top, where there are any. Configuration and vocabulary: the texts beside them; others belong
    to exports for other runtimes.

    Raises:
        AssetError: the member that the reference names is not there or is code, or the model has no
            weights.
    """
    names = sorted(names)
    if model.member is not None:
        if model.member not in names or PurePosixPath(model.member).suffix == ".py":
            raise AssetError(f"{model.repo} at {model.revision} has no weights {model.member!r}")
        return [model.member]
    for suffixes, only in (((".safetensors",), None), ((".bin",), "model.bin"), (_PICKLES, None)):
        weights = [
            name
            for name in names
            if (path := PurePosixPath(name)).suffix in suffixes
            and (only is None or path.name == only)
            and not path.name.startswith(_OF_A_TRAINING)
        ]
        top = [name for name in weights if "/" not in name]
        if weights:
            taken = top or weights
            folders = {PurePosixPath(name).parent for name in taken}
            texts = [
                name
                for name in names
                if (path := PurePosixPath(name)).suffix in _TEXTS and path.parent in folders
            ]
            return sorted({*taken, *texts})
    raise AssetError(
        f"{model.repo} at {model.revision} has no weights: neither *.safetensors nor model.bin nor "
        f"{', '.join('*' + suffix for suffix in _PICKLES)}"
    )


def _complete(folder: Path, model: HubModel) -> list[str]:
    """The files to take of a folder.

    Raises:
        AssetError: an index names weights that are not there.
    """
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    names = chosen(present, model)
    for name in names:
        if name.endswith(".safetensors.index.json"):
            parts = set(json.loads((folder / name).read_text())["weight_map"].values())
            parent = PurePosixPath(name).parent
            lost = sorted(part for part in parts if (parent / part).as_posix() not in present)
            if lost:
                raise AssetError(f"{folder} lacks {', '.join(lost)}, which {name} names")
    return names


def copy_model(folder: Path, target: Path, model: HubModel) -> None:
    """Copy from a folder what would be taken of the model.

    Args:
        folder: of the hub's cache, or downloaded by a person.
        target: folder to make, or file where the model has a ``member``.
        model: which model it is.

    Raises:
        AssetError: the folder lacks weights.
    """
    for name in _complete(folder, model):
        copy_file(folder / name, target if model.member is not None else target / name)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes, links followed, and bring them to the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def download(
    model: HubModel, folder: Path, target: Path, progress: Progress | None, reference: str
) -> str:
    """Bring a model's files, and return the commit they are of.

    Args:
        model: what is wanted.
        folder: for unfinished downloads, on the disk of ``target``.
        target: folder to make, or file where the model has a ``member``.
        progress: called while bytes arrive.
        reference: what the asset is called here.

    Raises:
        AssetError: the hub cannot be reached, refuses, or knows no such model or revision; or
            offline mode is on and the hub's cache does not hold it.
        OSError: the disk is full.
    """
    from httpx2 import HTTPError
    from huggingface_hub import is_offline_mode
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = f"{model.repo} at {model.revision}"
    try:
        if is_offline_mode():
            return _from_cache(model, target)
        return _from_hub(model, folder, target, progress)
    except LocalEntryNotFoundError as error:
        raise AssetError(
            f"{name} is not in the cache of huggingface_hub (HF_HOME), and "
            f"{'HF_HUB_OFFLINE forbids to ask the hub' if is_offline_mode() else str(error)}. "
            f"Where there is a network: hf download {model.repo} --revision {model.revision}; or "
            f"give that model's folder by hand: dimitra assets add {reference} FOLDER"
        ) from None
    except GatedRepoError:
        raise AssetError(
            f"{name}: its authors want you to accept their terms first, at "
            f"https://huggingface.co/{model.repo}; then: hf auth login (or set HF_TOKEN)"
        ) from None
    except RevisionNotFoundError:
        raise AssetError(f"{model.repo} has no revision {model.revision!r}") from None
    except RepositoryNotFoundError:
        raise AssetError(
            f"the hub knows no {model.repo}, or it is private: check the name, or hf auth login"
        ) from None
    except (HfHubHTTPError, HTTPError) as error:
        raise AssetError(
            f"{name}: the hub cannot be reached or refuses: {error}. HF_ENDPOINT names a mirror; "
            "HF_HUB_OFFLINE=1 keeps to what is cached"
        ) from None


def _from_cache(model: HubModel, target: Path) -> str:
    from huggingface_hub import snapshot_download

    snapshot = Path(
        snapshot_download(
            model.repo,
            revision=model.revision,
            local_files_only=True,
            allow_patterns=["*.safetensors", "config.json"],  # for huggingface_hub's own check
        )
    )
    copy_model(snapshot, target, model)
    return snapshot.name


def _from_hub(model: HubModel, folder: Path, target: Path, progress: Progress | None) -> str:
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
    from huggingface_hub.utils.tqdm import disable_progress_bars

    info = HfApi().model_info(model.repo, revision=model.revision, files_metadata=True)
    commit = info.sha or model.revision
    sizes = {item.rfilename: item.size or 0 for item in info.siblings or ()}
    names = chosen(sizes, model)
    single = model.member is not None
    cached = {name: try_to_load_from_cache(model.repo, name, revision=commit) for name in names}
    if all(isinstance(path, str) for path in cached.values()):
        for name, path in cached.items():
            copy_file(Path(str(path)), target if single else target / name)
        return commit
    expected = sum(sizes[name] for name in names)
    free = shutil.disk_usage(folder).free
    if free < expected:
        raise AssetError(
            f"{model.repo} has {expected / 1e6:.0f} MB, where {free / 1e6:.0f} MB are free; make "
            "room, or set DIMITRA_ASSETS_DIR"
        )
    disable_progress_bars()
    download = folder / "model"
    with watched(folder, expected, progress):
        snapshot_download(
            model.repo,
            revision=commit,
            local_dir=download,
            allow_patterns=[_literally(name) for name in names],
        )
    shutil.rmtree(download / ".cache", ignore_errors=True)
    (download / model.member if model.member is not None else download).replace(target)
    return commit


def _literally(name: str) -> str:
    """A pattern of fnmatch that a name alone matches."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
