"""Reads everything again that is here, and compares it with the records: ``--verify``."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from dimitra.clips import ClipError
from dimitra.datasets.folder import VIDEOS
from dimitra.datasets.listing import clip_id_of
from dimitra.datasets.transcripts import read_transcript
from dimitra.git_files import GitError, read_objects
from dimitra.lineage.clip_history import names_path
from dimitra.lineage.findings import Finding, absent, broken, differs, note, short
from dimitra.lineage.raw import MANIFEST
from dimitra.lineage.record import Artefact, LineageRecord
from dimitra.lineage.sides import read_table
from dimitra.lineage.tree import read_artefact
from dimitra.shards import Sidecar, json_bytes, list_sidecars, sha256_file, sidecar_path

_MALFORMED = "malformed"
_WITH_TEXT = ("folder", "hdtf")
"""Layouts in which a clip's words can come with it: beside its video, or in ``transcripts/``."""


def _check_files(artefact: Artefact, root: Path) -> Iterator[Finding]:
    """Every file of an artefact that its record lists."""
    if not artefact.files and (root / artefact.path).is_dir():
        return
    listed: Mapping[str, str | None] = artefact.files or {"": artefact.sha256}
    for name, digest in listed.items():
        path = f"{artefact.path}/{name}" if name else artefact.path
        place = root / path
        if not place.is_file():
            yield broken(path, "it is missing, though other files of its stage are here")
        elif sha256_file(place) != digest:
            yield broken(path, differs(digest, sha256_file(place)))


def _check_shards(record: LineageRecord, root: Path) -> Iterator[Finding]:
    """The bytes of every shard, and that its sidecar tells the same."""
    if not record.shards:
        return
    told: dict[Path, str] = {}
    for output in record.outputs:
        if (root / output.path).is_dir():
            try:
                sidecars = list_sidecars(root / output.path)
            except (KeyError, TypeError, ValueError) as error:
                yield broken(output.path, f"a JSON file in it cannot be read: {error}")
                return
            told |= {path: sidecar.sha256 for path, sidecar in sidecars.items()}
    elsewhere = _kept_elsewhere(root)
    for shard in record.shards:
        place = root / shard.path
        if not place.parent.is_dir():
            continue
        sidecar = told.pop(place, None)
        if sidecar is None:
            yield broken(shard.path, "its sidecar is missing")
        elif sidecar != shard.sha256:
            yield broken(shard.path, f"its sidecar tells {differs(shard.sha256, sidecar)}")
        if not place.is_file() and elsewhere:
            yield absent(shard.path, f"the shard is kept in {elsewhere}")
        elif not place.is_file():
            yield broken(shard.path, "it is missing, though its folder is here: `dvc checkout`")
        elif sha256_file(place) != shard.sha256:
            yield broken(shard.path, differs(shard.sha256, sha256_file(place)))
    for place in told:
        yield broken(str(place.relative_to(root)), "the record does not tell of this shard")


def _kept_elsewhere(root: Path) -> str | None:
    """``storage.root`` of ``params.yaml``; None where shards lie in the checkout."""
    try:
        params = yaml.safe_load((root / "params.yaml").read_text("utf-8"))
        return str(params["storage"]["root"] or "") or None
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError):
        return None


def _check_extra(one: Artefact, root: Path) -> Iterator[Finding]:
    """Files of an input folder that its record does not list."""
    folder = root / one.path
    if not one.files or not folder.is_dir():
        return
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if name not in one.files and not file.name.startswith("."):
            yield note(f"{one.path}/{name}", "no stage has read it: `dvc status` tells which would")


def _digest(path: str, root: Path) -> str | None:
    """Digest of an output as it lies here."""
    try:
        return read_artefact(path, root).sha256
    except (KeyError, TypeError, ValueError):  # a sidecar; told where shards are checked
        return _MALFORMED


def _check_outputs(record: LineageRecord, root: Path) -> Iterator[Finding]:
    for output in record.outputs:
        place = root / output.path
        if not place.exists():
            yield absent(output.path, f"output of {record.stage}")
            continue
        found = list(_check_files(output, root))
        yield from found
        if found or _digest(output.path, root) in (output.sha256, _MALFORMED):
            continue
        edited = list(_edited_sidecars(record, output.path, root))
        yield from edited
        if not edited:
            yield broken(output.path, "it holds files that the record does not tell of")


def _edited_sidecars(record: LineageRecord, output: str, root: Path) -> Iterator[Finding]:
    """Sidecars that are not what their shard and the record make."""
    for shard in record.shards:
        place = root / shard.path
        if not shard.path.startswith(f"{output}/") or not place.is_file():
            continue
        try:
            with tarfile.open(place) as archive:
                clips = dict.fromkeys(name.partition(".")[0] for name in archive.getnames())
        except tarfile.TarError:  # told where shards are checked
            continue
        made = Sidecar(place.name, shard.sha256, shard.size_bytes, shard.clips, tuple(clips))
        if sidecar_path(place).read_bytes() != json_bytes(asdict(made)):
            name = sidecar_path(Path(shard.path)).as_posix()
            yield broken(name, "the sidecar is not what its shard makes")


def check_raw(record: LineageRecord, root: Path, only: str | None = None) -> Iterator[Finding]:
    """Raw videos and the text that came with them against the manifest.

    Args:
        record: of ``ingest``.
        root: the checkout.
        only: one video or its sound, relative to the checkout; by default all, and then files
            that are in neither table are told too.
    """
    base = str(record.params.get("datasets.root", "datasets"))
    manifest = root / MANIFEST / "clips.parquet"
    if not (root / base).is_dir():
        yield absent(base, "raw videos")
        return
    if not manifest.is_file():
        yield absent(MANIFEST.as_posix(), "without it raw videos cannot be compared")
        return
    columns = ["dataset", "path", "audio_path", "sha256", "transcript", "clip_id"]
    done: set[tuple[str, str]] = set()
    texts: dict[str, Mapping[str, Path]] = {}
    try:
        rows = read_table(manifest, columns).to_pylist()
    except (OSError, ValueError) as error:
        yield broken(f"{MANIFEST.as_posix()}/clips.parquet", f"it cannot be read: {error}")
        return
    for row in rows:
        key = f"datasets.sets.{row['dataset']}.path"
        folder = f"{base}/{record.params[key]}"
        names = [row["path"], *filter(None, [row["audio_path"]])]
        if only is not None and only not in [f"{folder}/{one}" for one in names]:
            continue
        layout = record.params.get(f"datasets.sets.{row['dataset']}.layout")
        if layout == "hdtf" and folder not in texts:
            texts[folder] = _texts(row["dataset"], root / folder)
        if layout in _WITH_TEXT:
            beside = Path(row["path"]).with_suffix(".txt") if layout == "folder" else None
            text = beside or texts[folder].get(row["clip_id"])
            yield from _check_text(row, root / folder, folder, text)
        if (row["dataset"], row["path"]) in done:
            continue
        done.add((row["dataset"], row["path"]))
        name = f"{folder}/{row['path']}"
        files = [root / folder / one for one in names]
        if not all(file.is_file() for file in files):
            yield absent(name, "raw video")
            continue
        digest = _sha256_of(files)
        if digest != row["sha256"]:
            yield broken(
                name, f"sha256 {digest[:12]}..., the manifest says {row['sha256'][:12]}..."
            )

    if only is None:
        quarantine = MANIFEST / "quarantine.parquet"
        try:
            refused = read_table(root / quarantine, ["message"]).to_pylist()
        except (OSError, ValueError) as error:
            yield broken(quarantine.as_posix(), f"it cannot be read: {error}")
            return
        told = {f"{row['dataset']}/{row['path']}" for row in rows}
        yield from _untold_videos(record, root, told, [one["message"] for one in refused])


def _check_text(
    row: Mapping[str, Any], place: Path, folder: str, text: Path | None
) -> Iterator[Finding]:
    """The text of a clip."""
    if text is None or not (place / text).is_file():
        if row["transcript"] is not None:
            yield broken(f"{folder}/{row['path']}", "its transcript, which was read, is missing")
        return
    try:
        words = read_transcript(place / text, str(text))
    except ClipError as error:
        yield broken(f"{folder}/{text}", error.message)
        return
    if words != row["transcript"]:
        yield broken(f"{folder}/{text}", "it holds other words than the manifest")


def _texts(dataset: str, place: Path) -> Mapping[str, Path]:
    """Text files that lie apart from the videos (HDTF), by the clip that they are of."""
    files = [file.relative_to(place) for file in (place / "transcripts").glob("*.txt")]
    return {clip_id_of(dataset, PurePosixPath(f"{file.stem}.mp4")): file for file in files}


def _untold_videos(
    record: LineageRecord, root: Path, told: Set[str], messages: Sequence[str]
) -> Iterator[Finding]:
    """Media files of the datasets that neither the manifest nor the quarantine names."""
    base = str(record.params.get("datasets.root", "datasets"))
    for key, value in record.params.items():
        if not (key.startswith("datasets.sets.") and key.endswith(".path")):
            continue
        dataset, folder = key.split(".")[2], root / base / str(value)
        files = (one for one in sorted(folder.rglob("*")) if one.suffix.lower() in VIDEOS)
        names = [one.relative_to(folder).as_posix() for one in files if one.is_file()]
        new = [
            name
            for name in names
            if f"{dataset}/{name}" not in told
            and not any(names_path(text, name) for text in messages)
        ]
        if new:
            what = f"ingest has not seen it{f', nor {len(new) - 1} more' if new[1:] else ''}"
            yield note(f"{base}/{value}/{new[0]}", f"{what}: `dvc repro`")


def _sha256_of(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _check_code(records: Sequence[LineageRecord], root: Path) -> Iterator[Finding]:
    """The files at the recorded commit are those of the record."""
    wanted: dict[tuple[str, str], str] = {}
    for record in records:
        if record.code.commit is not None and record.code.uncommitted is None:
            wanted |= {(record.code.commit, path): sha for path, sha in record.code.files.items()}
    try:
        contents = read_objects(root, [f"{commit}:./{path}" for commit, path in wanted])
    except GitError as error:
        yield absent("code", str(error))
        return
    away: dict[str, int] = {}
    for (commit, path), content in zip(wanted, contents, strict=True):
        if content is None:
            away[commit] = away.get(commit, 0) + 1
        elif hashlib.sha256(content).hexdigest() != wanted[commit, path]:
            yield broken(path, f"at commit {commit[:12]} it is not what the record says")
    for commit, files in away.items():
        yield absent(f"commit {short(commit)}", f"this clone does not have {files} files of it")


def _check_weights(records: Sequence[LineageRecord]) -> Iterator[Finding]:
    """Third-party weights in the store."""
    from dimitra.assets import AssetError, asset_sha256, verify

    seen: Mapping[str, str | None] = {
        asset.reference: asset.sha256 for record in records for asset in record.assets
    }
    for reference, digest in seen.items():
        try:
            state = verify(reference)
            known = asset_sha256(reference) if state == "ok" else None
        except AssetError as error:
            yield absent(reference, str(error))
            continue
        if state == "missing":
            yield absent(reference, "not in the store of weights: dimitra assets fetch")
        elif state == "wrong":
            yield broken(reference, "its bytes in the store are not those of its sha256")
        elif known != digest:
            yield broken(reference, differs(digest, known))


def verify_records(records: Sequence[LineageRecord], root: Path) -> Iterator[Finding]:
    """Hash all outputs and sources of stages again.

    Args:
        records: of the stages.
        root: the checkout.
    """
    made = {output.path for record in records for output in record.outputs}
    seen: set[str] = set()
    for record in records:
        yield from _check_outputs(record, root)
        yield from _check_shards(record, root)
        for one in record.inputs:
            if one.path in seen or any(one.path == path for path in made):
                continue
            seen.add(one.path)
            if one.path == record.params.get("datasets.root"):
                yield from check_raw(record, root)
                yield from _check_files(one, root) if (root / one.path).is_dir() else ()
            elif not (root / one.path).exists():
                yield absent(one.path, f"input of {record.stage}")
            else:
                yield from _check_files(one, root)
                yield from _check_extra(one, root)
    yield from _check_code(records, root)
    yield from _check_weights(records)
