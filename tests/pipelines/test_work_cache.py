import os
import subprocess
from pathlib import Path

import pytest

from dimitra.shards import write_shard
from pipelines.checkout import cache_folder, main_checkout
from pipelines.quarantine import QuarantineRow
from pipelines.work_cache import WorkCache, copy_atomic, digest_of, digest_path, write_rows


def finished(folder: Path, text: bytes = b"x") -> Path:
    write_shard(folder / "00000.tar", {"a": {"txt": text}})
    write_rows(folder, [QuarantineRow("b", "toy", "crop", "no_face", "none", None, 1)])
    return folder


def test_what_is_kept_comes_back_as_a_copy(tmp_path: Path) -> None:
    cache = WorkCache(tmp_path / "cache")
    assert cache.restore("k1", "00000", tmp_path / "out") is None
    cache.keep(finished(cache.partial() / "u"), "k1")
    back = cache.restore("k1", "00000", tmp_path / "out")
    assert back is not None
    assert (back.sidecar.clips, [row.clip_id for row in back.rows]) == (1, ["b"])
    kept = cache.folder("k1") / "00000.tar"
    out = tmp_path / "out" / "00000.tar"
    assert out.read_bytes() == kept.read_bytes()
    assert out.stat().st_ino != kept.stat().st_ino
    cache.keep(finished(cache.partial() / "u", b"second"), "k1")
    assert kept.read_bytes() == out.read_bytes()


def test_an_unfinished_or_damaged_entry_is_no_entry(tmp_path: Path) -> None:
    cache = WorkCache(tmp_path / "cache")
    cache.keep(finished(cache.partial() / "u"), "k1")
    (cache.folder("k1") / "00000.tar").write_bytes(b"short")
    assert cache.restore("k1", "00000", tmp_path / "out") is None
    assert not list((tmp_path / "out").iterdir())
    cache.keep(finished(cache.partial() / "u"), "k1")
    (cache.folder("k1") / "00000.json").unlink()
    assert cache.restore("k1", "00000", tmp_path / "out") is None


def test_rows_that_blame_the_machine_are_not_lasting(tmp_path: Path) -> None:
    cache = WorkCache(tmp_path / "cache")
    cache.keep(finished(cache.partial() / "u"), "k1")
    good = cache.restore("k1", "00000", tmp_path / "out")
    assert good is not None
    assert good.lasting
    folder = finished(tmp_path / "other")
    write_rows(folder, [QuarantineRow("b", "toy", "crop", "deadline", "late", None, 1)])
    cache.keep(folder, "k2")
    late = cache.restore("k2", "00000", tmp_path / "out")
    assert late is not None
    assert not late.lasting


def test_partial_folders_of_dead_processes_are_removed(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    cache = WorkCache(tmp_path)
    dead = tmp_path / "partial" / f"{os.uname().nodename}-{process.pid}"
    elsewhere = tmp_path / "partial" / f"elsewhere-{process.pid}"
    dead.mkdir(parents=True)
    elsewhere.mkdir()
    own = cache.partial()
    assert {path.name for path in own.parent.iterdir()} == {own.name, elsewhere.name}


def test_digests(tmp_path: Path) -> None:
    assert digest_of({"b": 1, "a": [2]}) == digest_of({"a": [2], "b": 1})
    (tmp_path / "a").write_text("1")
    before = digest_path(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest_path(tmp_path) != before
    with pytest.raises(FileNotFoundError, match="gone does not exist"):
        digest_path(tmp_path / "gone")


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copy_atomic(tmp_path / "gone", tmp_path / "out" / "copy")
    assert not list((tmp_path / "out").iterdir())


def test_the_cache_lies_in_the_main_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DIMITRA_CACHE_DIR", raising=False)
    main = tmp_path / "main"
    main.mkdir()

    def git(*words: str) -> None:
        name = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *name, *words], cwd=main, check=True, capture_output=True)

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "start")
    git("worktree", "add", "-q", str(tmp_path / "tree"))
    experiment = main / ".dvc" / "tmp" / "exps" / "standalone" / "tmpx"
    experiment.mkdir(parents=True)
    subprocess.run(["git", "init", "-q"], cwd=experiment, check=True)
    for place in (main, tmp_path / "tree", experiment):
        assert main_checkout(place) == main
    monkeypatch.chdir(experiment)
    assert cache_folder() == main / ".cache" / "dimitra"
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "else"))
    assert cache_folder() == tmp_path / "else"
