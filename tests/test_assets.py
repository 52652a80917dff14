"""Assets: safe extraction, checked hashes, nothing half-written."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from dimitra import assets, cli


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_extract_takes_one_file_or_one_folder(tmp_path: Path) -> None:
    archive = make_zip(
        tmp_path / "a.zip", {"p/m/a.bin": b"abc", "p/m/s/b.bin": b"de", "p/x": b"no"}
    )
    assets.extract(archive, "p/m/a.bin", tmp_path / "file", 3)
    assert (tmp_path / "file").read_bytes() == b"abc"
    assets.extract(archive, "p/m/", tmp_path / "folder", 5)
    names = sorted(
        p.relative_to(tmp_path / "folder").as_posix() for p in tmp_path.glob("folder/**/*.bin")
    )
    assert names == ["a.bin", "s/b.bin"]


def test_extract_refuses_a_name_that_leaves_its_folder(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"m/../../evil": b"abc"})
    with pytest.raises(assets.AssetError, match="leaves its folder"):
        assets.extract(archive, "m/", tmp_path / "folder", 100)
    assert not (tmp_path / "evil").exists()


def test_extract_refuses_a_bomb_and_an_absent_member(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"m/a": b"0" * 1000})
    with pytest.raises(assets.AssetError, match="more than the 999 bytes"):
        assets.extract(archive, "m/a", tmp_path / "out", 999)
    with pytest.raises(assets.AssetError, match="holds no m/b"):
        assets.extract(archive, "m/b", tmp_path / "out2", 999)


def test_extract_passes_links_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("m/link")
        link.type = tarfile.SYMTYPE
        link.linkname = "/etc/passwd"
        archive.addfile(link)
        plain = tarfile.TarInfo("m/plain")
        plain.size = 2
        archive.addfile(plain, io.BytesIO(b"ok"))
    assets.extract(path, "m/", tmp_path / "out", 10)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["plain"]


@pytest.fixture
def one_asset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A catalogue of one asset whose download is served from a local archive."""
    content = {"m/weights.bin": b"weights"}
    archive = make_zip(tmp_path / "demo.whl", content)
    asset = assets.Asset(
        name="demo",
        purpose="a test",
        sha256=hashlib.sha256(b"weights").hexdigest(),
        size_bytes=7,
        licence="CC0-1.0",
        commercial=True,
        home="",
        note="",
        sources=("pypi:demo==1!m/weights.bin",),
        folder=False,
        profiles=("sample",),
    )
    record = assets.Archive("demo==1", assets.sha256_file(archive), archive.stat().st_size)
    monkeypatch.setattr(assets, "_catalogue", lambda: ({"demo": asset}, {"demo==1": record}))
    monkeypatch.setenv("DIMITRA_ASSETS_DIR", str(tmp_path / "store"))

    def local(_archive: assets.Archive, folder: Path, _progress: object) -> Path:
        copy = folder / "demo.whl"
        make_zip(copy, content)
        return copy

    monkeypatch.setattr(assets, "_pip_download", local)
    return content


def test_fetch_checks_and_keeps(one_asset: dict[str, bytes]) -> None:
    with pytest.raises(assets.MissingAssetError, match="dimitra assets fetch demo"):
        assets.asset_path("demo")
    path = assets.fetch("demo")
    assert path.read_bytes() == b"weights"
    assert assets.asset_path("demo") == path
    assert assets.verify("demo") == "ok"
    path.write_bytes(b"weightz")
    assert assets.verify("demo") == "wrong"
    assert assets.fetch("demo").read_bytes() == b"weights"


def test_wrong_bytes_are_not_kept(one_asset: dict[str, bytes]) -> None:
    one_asset["m/weights.bin"] = b"WEIGHTS"
    with pytest.raises(assets.AssetError, match="expected .*nothing was kept"):
        assets.fetch("demo")
    left = [p for p in assets.store().rglob("*") if p.is_file() and p.name != ".lock"]
    assert left == []


def test_a_full_disk_is_told(one_asset: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(assets, "_pip_download", full)
    with pytest.raises(assets.AssetError, match="filled up"):
        assets.fetch("demo")
    assert [p for p in assets.store().rglob("*") if p.is_file() and p.name != ".lock"] == []


def test_no_network_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pip against an index that does not answer."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("DIMITRA_ASSETS_DIR", str(tmp_path))
    with pytest.raises(assets.AssetError, match="package index reachable"):
        assets.fetch("mediapipe_landmarker")
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p.name != ".lock"] == []


def test_catalogue_is_complete() -> None:
    for asset in assets.list_assets():
        assert asset.licence
        assert asset.purpose
        assert asset.sha256 is None or len(asset.sha256) == 64
        for source in asset.sources:
            assert source.startswith(("pypi:", "https://", "manual:"))
    content = yaml.safe_load((Path(assets.__file__).with_name("assets.yaml")).read_text())
    pinned = {
        s.removeprefix("pypi:").partition("!")[0] for a in assets.list_assets() for s in a.sources
    }
    assert set(content["archives"]) == pinned


def test_command_names_an_unknown_asset() -> None:
    result = CliRunner().invoke(cli.app, ["assets", "fetch", "nonsense"])
    assert result.exit_code == 2
    assert "nonsense" in result.output
