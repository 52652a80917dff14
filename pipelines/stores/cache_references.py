"""Who names a shard: sidecars in the ``data/`` folders of checkouts, and in DVC's caches."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from pipelines.errors import StageError
from pipelines.stores.checkout import main_checkout
from pipelines.stores.storage import Storage

_SIDECAR_BYTES = 64 << 20
"""Nothing larger is looked at as a sidecar: at 40 bytes a clip id, over a million clips."""
_GIT_TIMEOUT_S = 20.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


def checkouts() -> list[Path]:
    """The working folder's checkout, the main one, every git worktree, DVC's experiment copies."""
    main = main_checkout()
    found = [Path.cwd(), main, *main.glob(".dvc/tmp/exps/*/*"), *main.glob(".dvc/tmp/exps/*")]
    git = shutil.which("git")
    if git is not None:
        result = subprocess.run(  # noqa: S603 - an argument list, no shell
            [git, "worktree", "list", "--porcelain"],
            cwd=main,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
        lines = result.stdout.splitlines()
        found += [Path(line[9:]) for line in lines if line.startswith("worktree ")]
    return sorted({path.resolve() for path in found if path.is_dir()})


def dvc_cache(checkout: Path) -> Path | None:
    """Folder of a checkout's DVC cache (``cache.dir`` of its configuration); None without DVC."""
    folder = checkout / ".dvc"
    if not (folder / "config").is_file():
        return None
    from dvc.config import Config

    configured = Config(str(folder)).get("cache", {}).get("dir")
    return Path(configured) if configured else folder / "cache"


def _sidecar_sha256(path: Path) -> str | None:
    """The sha256 that a file names if it is a sidecar's JSON."""
    try:
        if path.stat().st_size > _SIDECAR_BYTES:
            return None
        with path.open("rb") as file:
            if file.read(1) != b"{":
                return None
            values = json.loads(b"{" + file.read())
    except (FileNotFoundError, ValueError):  # removed since the listing; JSON of another kind
        return None
    sha256 = values.get("sha256") if isinstance(values, dict) and "shard" in values else None
    return sha256 if isinstance(sha256, str) and _SHA256.fullmatch(sha256) else None


def sidecars_below(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every sidecar below a folder, whatever it is called, with the sha256 that it names."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (sha256 := _sidecar_sha256(path)):
            yield path, sha256


def named_by_sidecars(storage: Storage, also: Iterable[Path] = ()) -> dict[str, Path]:
    """Shards that a stage's output names: sha256 to one sidecar that names it.

    These are the sidecars in ``data/`` of every checkout, in the folders given, and, where the
    storage is remote and so the only place that holds the bytes, in DVC's caches.
    """
    folders = [checkout / "data" for checkout in checkouts()] + list(also)
    if not storage.is_local:
        caches = (dvc_cache(checkout) for checkout in checkouts())
        folders += [cache / "files" / "md5" for cache in caches if cache is not None]
    named: dict[str, Path] = {}
    for folder in folders:
        for path, sha256 in sidecars_below(folder):
            named.setdefault(sha256, path)
    return named


def check_dvc_caches(storage: Storage) -> None:
    """Refuse to clean a remote store without knowing which of its shards are DVC outputs.

    Raises:
        StageError: no checkout is here, or its DVC cache lacks an output that its lock names.
    """
    if storage.is_local:
        return
    why = f"{storage.root} is remote: its shards are the data of DVC outputs, and "
    how = ", or name the folders that hold sidecars with --keep"
    caches = {checkout: dvc_cache(checkout) for checkout in checkouts()}
    if not any(caches.values()):
        raise StageError(f"{why}{Path.cwd()} is in no checkout with DVC. Run it in one{how}")
    for checkout, cache in caches.items():
        lock = checkout / "dvc.lock"
        if cache is None or not lock.is_file():
            continue
        stages = yaml.safe_load(lock.read_text()).get("stages", {}).values()
        for output in (out for stage in stages for out in stage.get("outs", ())):
            md5 = output.get("md5", "")
            if md5.endswith(".dir") and not (cache / "files/md5" / md5[:2] / md5[2:]).is_file():
                raise StageError(
                    f"{why}DVC's cache of {checkout} lacks {output['path']}, which dvc.lock names: "
                    f"what it needs is not known. Run `dvc pull` or `dvc repro` first{how}"
                )
