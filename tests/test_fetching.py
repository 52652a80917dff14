"""Fetched, added and pinned: whole and right, or not at all."""

import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import yaml

from dimitra import asset_sources, assets, fetching, hub
from dimitra.assets import AssetError, MissingAssetError
from dimitra.shards import sha256_file
from tests.stores import an_asset, catalogue, files_left, own_store

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_store(tmp_path, monkeypatch)


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def one_asset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A catalogue of one asset whose download is served from a local archive."""
    content = {"m/weights.bin": b"weights"}
    archive = make_zip(tmp_path / "demo.whl", content)
    asset = an_asset(
        "demo",
        "pypi:demo==1!m/weights.bin",
        sha256=hashlib.sha256(b"weights").hexdigest(),
        size_bytes=7,
    )
    record = assets.Archive("demo==1", sha256_file(archive), archive.stat().st_size)
    monkeypatch.setattr(assets, "_catalogue", lambda: ({"demo": asset}, {"demo==1": record}))

    def local(_archive: assets.Archive, folder: Path, _progress: object) -> Path:
        return make_zip(folder / "demo.whl", content)

    monkeypatch.setattr(asset_sources, "pip_download", local)
    return content


def test_fetch_checks_and_keeps(one_asset: dict[str, bytes]) -> None:
    with pytest.raises(MissingAssetError, match="dimitra assets fetch demo"):
        assets.asset_path("demo")
    path = fetching.fetch("demo")
    assert path.read_bytes() == b"weights"
    assert assets.asset_path("demo") == path
    assert assets.verify("demo") == "ok"
    path.write_bytes(b"weightz")
    assert assets.verify("demo") == "wrong"
    assert fetching.fetch("demo").read_bytes() == b"weights"
    assert not Path(os.environ["DIMITRA_WEIGHTS_FILE"]).exists()  # its sha256 is in assets.yaml


def test_wrong_bytes_are_not_kept(one_asset: dict[str, bytes]) -> None:
    one_asset["m/weights.bin"] = b"WEIGHTS"
    with pytest.raises(AssetError, match="expected .*nothing was kept"):
        fetching.fetch("demo")
    assert files_left(assets.store()) == []


def test_a_full_disk_is_told(one_asset: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(asset_sources, "pip_download", full)
    with pytest.raises(AssetError, match="filled up"):
        fetching.fetch("demo")
    assert files_left(assets.store()) == []


def test_what_a_killed_fetch_left_is_removed(one_asset: dict[str, bytes]) -> None:
    left = assets.store() / "demo" / ".fetch-of-the-dead"
    left.mkdir(parents=True)
    (left / "content").write_bytes(b"half")
    fetching.fetch("demo")
    assert not left.exists()


def test_no_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pip against an index that does not answer."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    with pytest.raises(AssetError, match="package index reachable"):
        fetching.fetch("mediapipe_landmarker")
    assert files_left(assets.store()) == []


def by_hand(name: str = "face", **changes: object) -> assets.Asset:
    return an_asset(
        name, "manual: register at example.org and download it", file="face.mat", **changes
    )


def matlab(path: Path, text: bytes = b"") -> Path:
    path.write_bytes(b"MATLAB 5.0 MAT-file" + text)
    return path


def test_added_weights_are_pinned_and_others_refused_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue(monkeypatch, by_hand())
    with pytest.raises(MissingAssetError, match=r"register at example\.org.*assets add face PATH"):
        assets.require(["face"])
    with pytest.raises(MissingAssetError, match="no sha256 yet"):
        assets.asset_sha256("face")
    given = matlab(tmp_path / "01_Face.mat")
    path = fetching.add("face", given)
    assert (path.name, path.read_bytes()) == ("face.mat", given.read_bytes())
    pinned = yaml.safe_load(Path(os.environ["DIMITRA_WEIGHTS_FILE"]).read_text())["weights"]
    assert pinned == {
        "face": {
            "sha256": hashlib.sha256(given.read_bytes()).hexdigest(),
            "size_bytes": 19,
            "source": "01_Face.mat",
            "revision": None,
        }
    }
    assert assets.asset_sha256("face") == pinned["face"]["sha256"]
    assert assets.verify("face") == "ok"
    assets.require(["face"])

    other = matlab(tmp_path / "other.mat", b"!")
    with pytest.raises(AssetError, match="20 bytes, asset 'face' has 19"):
        fetching.add("face", other)
    other.write_bytes(given.read_bytes()[::-1].replace(b"elif", b"MATL"))
    matlab(other).write_bytes(b"MATLAB 5.0 MAT-FILE")
    with pytest.raises(AssetError, match=r"weights\.yaml pins .*add --replace face"):
        fetching.add("face", other)
    assert assets.asset_path("face") == path
    assert not [name for name in files_left(assets.store()) if ".fetch-" in name]
    replaced = fetching.add("face", other, other=True)
    assert assets.asset_path("face") == replaced != path
    assert replaced.read_bytes() == other.read_bytes()


def test_a_pin_that_was_lost_is_taken_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another checkout shares the store, but has no line in its ``weights.yaml``."""
    catalogue(monkeypatch, by_hand())
    path = fetching.add("face", matlab(tmp_path / "01_Face.mat"))
    pin = fetching.read_pins()["face"]
    Path(os.environ["DIMITRA_WEIGHTS_FILE"]).unlink()
    assert assets.verify("face") == "not pinned"
    assert fetching.pin("face") == pin
    assert assets.asset_path("face") == path
    Path(os.environ["DIMITRA_WEIGHTS_FILE"]).unlink()
    assert fetching.fetch("face") == path
    assert fetching.read_pins()["face"] == pin
    path.write_bytes(b"MATLAB other")
    Path(os.environ["DIMITRA_WEIGHTS_FILE"]).unlink()
    with pytest.raises(AssetError, match="was changed; remove it"):
        fetching.pin("face")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes"),
        (b"<!DOCTYPE html><title>Sign in</title>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "pointer of Git LFS"),
        (b"\x80\x02}q\x00.", "is not a MATLAB file, as face.mat is"),
    ],
)
def test_what_cannot_be_the_asset_is_refused(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue(monkeypatch, by_hand())
    given = tmp_path / "face.mat"
    given.write_bytes(content)
    with pytest.raises(AssetError, match=message):
        fetching.add("face", given)
    with pytest.raises(AssetError, match="no such file or folder"):
        fetching.add("face", tmp_path / "elsewhere.mat")
    with pytest.raises(AssetError, match=r"is a folder; need a file, face\.mat"):
        fetching.add("face", tmp_path)
    assert files_left(tmp_path) == ["face.mat"]


def test_a_users_own_path_must_be_pinned_before_it_makes_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"a")
    reference = str(folder)
    line = hashlib.sha256(b"a").hexdigest() + "  a.bin\n"
    sha256 = hashlib.sha256(line.encode()).hexdigest()
    assert assets.asset_path(reference) == folder
    assert assets.asset_sha256(reference) == sha256
    assert assets.verify(reference) == "not pinned"
    with pytest.raises(AssetError, match=f"not pinned.*dimitra assets pin {reference}"):
        assets.require([reference])
    assert fetching.pin(reference).sha256 == sha256
    assets.require([reference])
    (folder / "a.bin").write_bytes(b"b")
    assert assets.verify(reference) == "wrong"
    with pytest.raises(AssetError, match="holds other bytes"):
        assets.require([reference])
    with pytest.raises(AssetError, match="pin --replace"):
        fetching.pin(reference)
    fetching.pin(reference, other=True)
    assets.require([reference])
    shutil.rmtree(folder)
    with pytest.raises(MissingAssetError, match=f"put it at {reference}"):
        assets.require([reference])
    with pytest.raises(AssetError, match="is a path: nothing is fetched"):
        fetching.fetch(reference)


def test_a_disk_that_fills_up_while_a_file_is_added_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue(monkeypatch, by_hand())

    def full(_source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hub, "copy_file", full)
    with pytest.raises(AssetError, match="filled up.*nothing was kept"):
        fetching.add("face", matlab(tmp_path / "01_Face.mat"))
    assert files_left(assets.store()) == []
    assert fetching.read_pins() == {}


def test_files_out_of_an_archive_that_a_server_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = an_asset("pack", "https://example.org/pack.zip!a.onnx,b.onnx", folder=True)
    catalogue(monkeypatch, pack)
    content = {"a.onnx": b"a", "b.onnx": b"b", "c.onnx": b"c"}

    def served(url: str, target: Path, _limit: int, _progress: object) -> None:
        assert url == "https://example.org/pack.zip"
        make_zip(target, content)

    monkeypatch.setattr(asset_sources, "download_url", served)
    path = fetching.fetch("pack")
    assert sorted(file.name for file in path.iterdir()) == ["a.onnx", "b.onnx"]
    pin = fetching.read_pins()["pack"]
    assert (pin.source, pin.revision) == ("https://example.org/pack.zip", None)

    # The same pack, downloaded by another tool, is the same asset.
    by_another = tmp_path / "by-another"
    by_another.mkdir()
    (by_another / "a.onnx").write_bytes(b"a")
    with pytest.raises(AssetError, match="bytes, asset 'pack' has 2"):
        fetching.add("pack", by_another)
    (by_another / "x.onnx").write_bytes(b"b")
    with pytest.raises(AssetError, match=r"lacks b\.onnx of asset 'pack'"):
        fetching.add("pack", by_another)
    (by_another / "x.onnx").rename(by_another / "b.onnx")
    assert fetching.add("pack", by_another) == path


def a_model(name: str, commit: str, **changes: object) -> assets.Asset:
    return an_asset(name, f"hf:owner/{name}@{commit}", folder=True, **changes)


def write_model(folder: Path, model_type: str | None, *names: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    for name in names:
        (folder / name).write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    return folder


def test_a_folder_of_another_model_is_refused_and_no_commit_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    weights = "model.safetensors | pytorch_model.bin"
    catalogue(
        monkeypatch,
        a_model("clip", commit, files=("config.json", "merges.txt", weights), model_type="clip"),
        a_model("wave", commit, files=("config.json", weights), model_type="wav2vec2"),
        a_model("whisper", commit, files=("config.json", "model.bin", "a.json | a.txt")),
    )
    folder = write_model(tmp_path / "given", "clip", "model.safetensors", "merges.txt")
    with pytest.raises(AssetError, match=r"given lacks model\.bin, a\.json or a\.txt of asset"):
        fetching.add("whisper", folder)
    with pytest.raises(AssetError, match=r"model_type 'clip'; asset 'wave' is a 'wav2vec2'"):
        fetching.add("wave", folder)
    assert fetching.read_pins() == {}
    fetching.add("clip", folder)
    pin = fetching.read_pins()["clip"]
    assert (pin.source, pin.revision) == ("given", None)
    # Of two forms of the weights one is taken: what is kept must be the one that is needed.
    both = write_model(tmp_path / "both", None, "model.safetensors", "model.bin", "a.txt")
    with pytest.raises(AssetError, match=r"both lacks model\.bin"):
        fetching.add("whisper", both)
    assert files_left(assets.store() / "whisper") == []


def test_every_model_of_the_hub_names_the_files_that_its_reader_needs() -> None:
    for asset in assets.list_assets():
        if any(source.startswith("hf:") for source in asset.sources):
            assert "config.json" in asset.files
            assert asset.model_type is not None or "model.bin" in asset.files


def _add(number: int) -> None:
    fetching.pin(os.environ[f"MINE_{number}"])


def test_pins_of_several_processes_are_all_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(bytes([number]))
        monkeypatch.setenv(f"MINE_{number}", str(path))
    with multiprocessing.get_context("fork").Pool(3) as pool:
        pool.map(_add, range(6))
    assert len(fetching.read_pins()) == 6


def test_ctrl_c_leaves_nothing(
    one_asset: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_archive: object, folder: Path, _progress: object) -> Path:
        (folder / "half").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(asset_sources, "pip_download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetching.fetch("demo")
    assert files_left(assets.store()) == []


def test_a_store_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DIMITRA_ASSETS_DIR", str(tmp_path / "file"))
    with pytest.raises(AssetError, match="set DIMITRA_ASSETS_DIR to a folder that can"):
        fetching.fetch("dlib_68")


def test_importing_assets_is_quick() -> None:
    """Stages import it for two functions; the hub and pip are for the command."""
    code = "import sys, dimitra.assets; print([m for m in ('yaml', 'huggingface_hub', 'torch') if m in sys.modules])"  # noqa: E501
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def _fetch(_: int) -> str:
    return str(fetching.fetch("demo"))


def test_processes_that_fetch_at_a_time_download_once(
    one_asset: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(_archive: assets.Archive, folder: Path, _progress: object) -> Path:
        (tmp_path / f"download-of-{os.getpid()}").touch()
        time.sleep(0.3)
        return make_zip(folder / "demo.whl", one_asset)

    monkeypatch.setattr(asset_sources, "pip_download", slowly)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        paths = set(pool.map(_fetch, range(3), chunksize=1))
    assert paths == {str(assets.asset_path("demo"))}
    assert len(list(tmp_path.glob("download-of-*"))) == 1
