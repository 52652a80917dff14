"""Archives give what is asked for, and nothing outside its folder."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from dimitra.asset_sources import extract
from dimitra.assets import AssetError


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_extract_takes_one_file_or_one_folder(tmp_path: Path) -> None:
    archive = make_zip(
        tmp_path / "a.zip", {"p/m/a.bin": b"abc", "p/m/s/b.bin": b"de", "p/x": b"no"}
    )
    extract(archive, "p/m/a.bin", tmp_path / "file", 3)
    assert (tmp_path / "file").read_bytes() == b"abc"
    extract(archive, "p/m/", tmp_path / "folder", 5)
    names = sorted(
        p.relative_to(tmp_path / "folder").as_posix() for p in tmp_path.glob("folder/**/*.bin")
    )
    assert names == ["a.bin", "s/b.bin"]


def test_extract_refuses_a_name_that_leaves_its_folder(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"m/../../evil": b"abc"})
    with pytest.raises(AssetError, match="leaves its folder"):
        extract(archive, "m/", tmp_path / "folder", 100)
    assert not (tmp_path / "evil").exists()


def test_extract_refuses_a_bomb_and_an_absent_member(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"m/a": b"0" * 1000})
    with pytest.raises(AssetError, match="more than the 999 bytes"):
        extract(archive, "m/a", tmp_path / "out", 999)
    with pytest.raises(AssetError, match="holds no m/b"):
        extract(archive, "m/b", tmp_path / "out2", 999)


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
    extract(path, "m/", tmp_path / "out", 10)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["plain"]


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.zip"
    page.write_text("<html>sign in first</html>")
    with pytest.raises(AssetError, match=r"page\.zip is neither a whole zip nor a whole tar"):
        extract(page, "a", tmp_path / "out", 100)
