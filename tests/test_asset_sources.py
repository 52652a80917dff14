"""Archives give what is asked for, and nothing outside its folder."""

import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dimitra.asset_sources import download_url, extract
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


@pytest.fixture
def server() -> Iterator[str]:
    """``/N`` announces ten bytes and sends N; everything else is not there."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            count = self.path.strip("/")
            self.send_response(200 if count.isdigit() else 404)
            self.send_header("Content-Length", "10" if count.isdigit() else "0")
            self.end_headers()
            self.wfile.write(b"x" * int(count) if count.isdigit() else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_is_whole_or_told(server: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    download_url(f"{server}/10", tmp_path / "f", 10, lambda *both: seen.append(both))
    assert (tmp_path / "f").read_bytes() == b"x" * 10
    assert seen[-1] == (10, 10)
    with pytest.raises(AssetError, match="broke off after 4 of 10 bytes"):
        download_url(f"{server}/4", tmp_path / "f", 10, None)
    with pytest.raises(AssetError, match="sends more than 9 bytes"):
        download_url(f"{server}/10", tmp_path / "f", 9, None)
    with pytest.raises(AssetError, match="cannot be had: Not Found"):
        download_url(f"{server}/gone", tmp_path / "f", 10, None)
    with pytest.raises(AssetError, match="cannot be had"):
        download_url("http://127.0.0.1:9/10", tmp_path / "f", 10, None)
