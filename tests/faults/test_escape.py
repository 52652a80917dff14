"""No input makes a reader open another file or a connection."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from av.error import FFmpegError

from dimitra.clips import ClipError, Reason
from dimitra.media.audio import read_audio
from dimitra.media.container import inspect
from dimitra.media.video import read_video
from pipelines.closure import ROOT
from tests.faults import mp4
from tests.faults.films import film, hum, noise, small

PLAYLISTS = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile '{}'\n",
    "mpd": '<?xml version="1.0"?>\n<MPD><Period><BaseURL>{}</BaseURL></Period></MPD>\n',
    "bare_mpd": "<MPD><Period><BaseURL>{}</BaseURL></Period></MPD>\n",
    "xspf": '<?xml version="1.0"?>\n<playlist><location>{}</location></playlist>\n',
    "asx": '<ASX version="3.0"><entry><ref href="{}"/></entry></ASX>\n',
    "smil": '<smil><body><video src="{}"/></body></smil>\n',
    "pls": "[playlist]\nFile1={}\nNumberOfEntries=1\nVersion=2\n",
    "ref": "[Reference]\nRef1={}\n",
    "ram": "{}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\na=control:{}\n",
    "indented": "\ufeff\r\n \t#EXTM3U\n#EXTINF:2,\n{}\n",
    # Forms that the list of first bytes does not know: the demuxers and protocols are off too.
    "commented": "# a list\nfile '{}'\n",
    "imf": "<AssetMap><Asset><Path>{}</Path></Asset></AssetMap>\n",
}


class Listener:
    """A server on this machine that counts who comes."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}/film.mp4"
        self.visits = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                visitor, _ = self._socket.accept()
            except OSError:
                return
            self.visits += 1
            visitor.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")
            visitor.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.close()


def _read_all(path: Path) -> set[Reason]:
    reasons = set()
    for read in (inspect, read_video, read_audio):
        with pytest.raises(ClipError) as caught:
            read(path)
        reasons.add(caught.value.reason)
    return reasons


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("extension", ["mp4", "own", "mkv"])
def test_no_playlist_opens_a_connection(
    tmp_path: Path, listener: Listener, name: str, extension: str
) -> None:
    path = tmp_path / f"film.{name if extension == 'own' else extension}"
    path.write_text(PLAYLISTS[name].format(listener.address))
    reasons = _read_all(path)
    assert reasons <= {Reason.REFUSED_MEDIA, Reason.NOT_MEDIA, Reason.WRONG_EXTENSION}
    if name not in ("commented", "imf"):
        assert reasons == {Reason.REFUSED_MEDIA}
    assert listener.visits == 0


def test_a_player_would_open_it(tmp_path: Path, listener: Listener) -> None:
    """So the server of these tests does notice."""
    path = tmp_path / "film.m3u8"
    path.write_text(PLAYLISTS["m3u8"].format(listener.address))
    careless = {"protocol_whitelist": "file,http,tcp", "extension_picky": "0"}
    with pytest.raises(FFmpegError):
        av.open(str(path), options=careless).close()
    assert listener.visits > 0


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A pipe without a writer: whoever opens it waits."""
    path = tmp_path / "secret.mp4"
    os.mkfifo(path)
    return path


def _containers(secret: Path) -> dict[str, bytes]:
    """Files that ask for the secret."""
    texts = {f"{name}.mp4": text.format(secret).encode() for name, text in PLAYLISTS.items()}
    chained = film(noise(50), container="matroska", sound=hum(2))
    return texts | {
        "alias.mp4": mp4.elsewhere(small(), b"alis", mp4.alias(str(secret))),
        "url.mp4": mp4.elsewhere(small(), b"url ", f"file://{secret}".encode() + b"\0"),
        "resource.mp4": mp4.elsewhere(small(), b"rsrc", mp4.alias(str(secret))),
        "next.mkv": _linked(chained, secret.name),
    }


def _linked(data: bytes, name: str) -> bytes:
    """A Matroska file that names the file before it: PrevFilename in the place of MuxingApp."""
    at = data.index(b"\x4d\x80")
    length = data[at + 2] & 0x7F
    text = name.encode()[: length - 1].ljust(length - 1, b"\0")
    element = b"\x3c\x83\xab" + bytes([0x80 | len(text)]) + text
    return data[:at] + element + data[at + 3 + length :]


READ = """
import sys
from pathlib import Path
from dimitra.clips import ClipError
from dimitra.media.audio import read_audio
from dimitra.media.container import inspect
from dimitra.media.video import read_video
for name in sys.argv[1:]:
    for read in (inspect, read_video, read_audio):
        try:
            read(Path(name))
        except ClipError as error:
            print(Path(name).name, error.reason)
        else:
            print(Path(name).name, "read")
"""


def test_no_file_makes_a_reader_open_another_one(tmp_path: Path, secret: Path) -> None:
    files = _containers(secret)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", READ, *(str(tmp_path / name) for name in files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,  # a reader that opens the pipe waits for ever
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [line.split() for line in done.stdout.splitlines()]
    assert len(answers) == 3 * len(files)
    read = {name for name, answer in answers if answer == "read"}
    assert read == {"next.mkv"}, "the link to another segment is not followed"


def test_a_player_would_wait_for_it(tmp_path: Path, secret: Path) -> None:
    """So a reader that opened the pipe would be noticed."""
    path = tmp_path / "alias.mp4"
    path.write_bytes(_containers(secret)["alias.mp4"])
    script = "import av, sys; av.open(sys.argv[1], options={'enable_drefs': '1'}).close()"
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", script, str(path)], timeout=4, check=False)
