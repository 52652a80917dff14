"""A store, a ``weights.yaml`` and a catalogue of their own for a test."""

from pathlib import Path

import pytest

from dimitra import assets


def own_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep assets and pins below ``folder``."""
    monkeypatch.setenv("DIMITRA_ASSETS_DIR", str(folder / "store"))
    monkeypatch.setenv("DIMITRA_WEIGHTS_FILE", str(folder / "weights.yaml"))


def an_asset(name: str, source: str, **changes: object) -> assets.Asset:
    """An asset of unknown bytes with one source."""
    values: dict[str, object] = {
        "name": name,
        "purpose": "a test",
        "sha256": None,
        "size_bytes": None,
        "licence": "CC0-1.0",
        "commercial": True,
        "home": "",
        "note": "",
        "sources": (source,),
        "folder": False,
        "profiles": ("sample",),
    }
    return assets.Asset(**(values | changes))  # type: ignore[arg-type]


def catalogue(monkeypatch: pytest.MonkeyPatch, *listed: assets.Asset) -> None:
    """Let ``assets.yaml`` hold these assets, and no archive."""
    monkeypatch.setattr(assets, "_catalogue", lambda: ({one.name: one for one in listed}, {}))


def files_left(folder: Path) -> list[str]:
    """Files of a store, but for its locks."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    )
