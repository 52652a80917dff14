"""Models of the hub, against a hub of this machine and huggingface_hub's own cache."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dimitra import assets, fetching
from dimitra.assets import AssetError, HubModel
from dimitra.hub import chosen
from tests.hub_server import COMMIT, Hub, serving
from tests.stores import an_asset, catalogue, files_left, own_store

FILES = {
    "config.json": b'{"model_type": "toy"}',
    "model.safetensors": b"\x02\0\0\0\0\0\0\0{}",
    "vocab.json": b"{}",
    "pytorch_model.bin": b"\x80\x02pickle",
    "modeling_toy.py": b"raise SystemExit",
    "flax_model.msgpack": b"\x80",
    "onnx/config.json": b"{}",
    "README.md": b"# toy",
    ".gitattributes": b"",
}
KEPT = ["config.json", "model.safetensors", "vocab.json"]
REFERENCE = "hf:owner/toy@v1"
ROOT = Path(__file__).parent.parent


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    own_store(tmp_path, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    toy = Hub("owner/toy", dict(FILES), ("v1", "main"))
    with serving(toy) as address:
        point_at(address, monkeypatch)
        yield toy


def point_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``HF_ENDPOINT`` does before huggingface_hub is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def kept(path: Path) -> list[str]:
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())


def test_a_model_is_fetched_without_its_code_and_pinned_with_its_commit(hub: Hub) -> None:
    seen: list[tuple[int, int]] = []
    path = fetching.fetch(REFERENCE, lambda done, total: seen.append((done, total)))
    assert kept(path) == KEPT
    assert all((path / name).read_bytes() == FILES[name] for name in KEPT)
    assert not [a for a in hub.asked if "modeling_toy" in a or "pytorch_model" in a]
    lines = "".join(f"{hashlib.sha256(FILES[name]).hexdigest()}  {name}\n" for name in KEPT)
    pin = fetching.read_pins()[REFERENCE]
    assert pin.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert pin.revision == COMMIT
    assert pin.size_bytes == sum(len(FILES[name]) for name in KEPT)
    assert assets.asset_path(REFERENCE) == path
    assert assets.verify(REFERENCE) == "ok"
    hub.asked.clear()
    assert fetching.fetch(REFERENCE) == path
    assert hub.asked == []


def test_a_tag_that_was_moved_gives_the_pinned_commit_or_nothing(hub: Hub) -> None:
    path = fetching.fetch(REFERENCE)
    shutil.rmtree(path.parent)
    hub.asked.clear()
    fetching.fetch(REFERENCE)
    assert not [asked for asked in hub.asked if "/v1" in asked]
    shutil.rmtree(path.parent)
    hub.files["config.json"] = b'{"model_type": "tow"}'  # as if the commit itself were forged
    with pytest.raises(AssetError, match=r"weights\.yaml pins"):
        fetching.fetch(REFERENCE)
    assert not [name for name in files_left(assets.store()) if "config" in name]


def test_an_asset_of_the_catalogue_may_come_from_the_hub(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue(
        monkeypatch,
        an_asset("toy", "hf:owner/toy@main", folder=True),
        an_asset("one_file", f"hf:owner/toy@{COMMIT}!pytorch_model.bin"),
    )
    assert kept(fetching.fetch("toy")) == KEPT
    assert fetching.read_pins()["toy"].revision == COMMIT
    path = fetching.fetch("one_file")
    assert (path.name, path.read_bytes()) == ("pytorch_model.bin", FILES["pytorch_model.bin"])


def test_pickles_only_where_there_is_nothing_else() -> None:
    model = HubModel("a/b", "v1")
    assert chosen(FILES, model) == KEPT
    pickled = ["config.json", "pytorch_model.bin", "training_args.bin", "optimizer.pt", "x.py"]
    assert chosen(pickled, model) == ["config.json", "pytorch_model.bin"]
    translated = ["config.json", "model.bin", "tokenizer.json", "vocabulary.txt", "other.bin"]
    assert chosen(translated, model) == translated[:-1]
    with pytest.raises(AssetError, match="has no weights"):
        chosen(["config.json", "modeling.py"], model)
    with pytest.raises(AssetError, match="has no weights 'modeling_toy.py'"):
        chosen(FILES, HubModel("a/b", "v1", "modeling_toy.py"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ((404, "RevisionNotFound"), "owner/toy has no revision 'v1'"),
        ((401, "RepoNotFound"), "the hub knows no owner/toy, or it is private"),
        ((403, "GatedRepo"), "accept their terms first, at https://huggingface.co/owner/toy"),
        ((500, ""), "the hub cannot be reached or refuses"),
    ],
)
def test_what_the_hub_refuses_is_told(hub: Hub, error: tuple[int, str], message: str) -> None:
    hub.error = error
    with pytest.raises(AssetError, match=message):
        fetching.fetch(REFERENCE)
    assert files_left(assets.store()) == []


def test_no_hub_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(AssetError, match="HF_ENDPOINT names a mirror"):
        fetching.fetch(REFERENCE)


def cached(folder: Path, files: dict[str, bytes]) -> Path:
    """``files`` as huggingface_hub's cache keeps them: links to blobs."""
    repo = folder / "hub" / "models--owner--toy"
    snapshot = repo / "snapshots" / COMMIT
    (repo / "refs").mkdir(parents=True)
    (repo / "blobs").mkdir()
    (repo / "refs" / "v1").write_text(COMMIT)
    for name, data in files.items():
        blob = repo / "blobs" / hashlib.sha256(data + name.encode()).hexdigest()
        blob.write_bytes(data)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def test_offline_the_cache_of_the_hub_is_used(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_offline(monkeypatch)
    with pytest.raises(AssetError, match=r"HF_HUB_OFFLINE forbids.*hf download owner/toy"):
        fetching.fetch(REFERENCE)
    cached(tmp_path, FILES)
    path = fetching.fetch(REFERENCE)
    assert kept(path) == KEPT
    assert not [p for p in path.rglob("*") if p.is_symlink()]
    assert fetching.read_pins()[REFERENCE].revision == COMMIT
    assert hub.asked == []


def test_offline_an_asset_is_to_be_added_under_its_own_name(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue(monkeypatch, an_asset("toy", f"hf:owner/toy@{COMMIT}", folder=True))
    go_offline(monkeypatch)
    with pytest.raises(AssetError, match="by hand: dimitra assets add toy FOLDER"):
        fetching.fetch("toy")
    for name, data in FILES.items():
        path = tmp_path / "by-hand" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    fetching.add("toy", tmp_path / "by-hand")
    assert assets.verify("toy") == "ok"


def test_an_incomplete_cache_is_no_model(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_offline(monkeypatch)
    snapshot = cached(tmp_path, {"config.json": b"{}"})
    with pytest.raises(AssetError, match="has no weights"):
        fetching.fetch(REFERENCE)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    (snapshot / "model-1.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with pytest.raises(AssetError, match=r"lacks model-2\.safetensors"):
        fetching.fetch(REFERENCE)
    assert files_left(assets.store()) == []


def test_what_the_cache_holds_is_not_downloaded_again(hub: Hub, tmp_path: Path) -> None:
    cached(tmp_path, FILES)
    assert kept(fetching.fetch(REFERENCE)) == KEPT
    assert not [asked for asked in hub.asked if "/resolve/" in asked]


def test_a_model_downloaded_by_hand_has_the_same_digest(hub: Hub, tmp_path: Path) -> None:
    fetching.fetch(REFERENCE)
    pin = fetching.read_pins()[REFERENCE]
    for name, data in FILES.items():
        path = tmp_path / "by-hand" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    reference = f"hf:owner/toy@{COMMIT}"
    fetching.add(reference, tmp_path / "by-hand")
    added = fetching.read_pins()[reference]
    assert (added.sha256, added.revision) == (pin.sha256, None)  # no one can tell its commit


def test_the_command_heeds_the_hubs_own_environment(hub: Hub, tmp_path: Path) -> None:
    from huggingface_hub import constants

    environment = {
        **os.environ,
        "HF_ENDPOINT": constants.ENDPOINT,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
    }

    def fetch() -> subprocess.CompletedProcess[str]:
        code = "from dimitra.cli import app; app()"
        command = [sys.executable, "-c", code, "assets", "fetch", REFERENCE]
        return subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )

    environment["HF_HUB_OFFLINE"] = "1"
    refused = fetch()
    assert refused.returncode == 1
    assert "HF_HUB_OFFLINE forbids to ask the hub" in refused.stderr
    assert hub.asked == []
    environment["HF_HUB_OFFLINE"] = "0"
    fetched = fetch()
    assert fetched.returncode == 0, fetched.stderr
    assert "commit it" in fetched.stdout
    assert kept(assets.asset_path(REFERENCE)) == KEPT
