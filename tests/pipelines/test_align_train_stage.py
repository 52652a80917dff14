import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from dimitra.assets import asset_path
from dimitra.clips import MANIFEST_SCHEMA
from dimitra.shards import write_shard
from dimitra.speech.aligner import Aligner
from dimitra.speech.lexicon import DictionaryError
from dimitra.speech.transcript import dataset_transcript
from pipelines import align_train
from pipelines.errors import StageError
from pipelines.training.clips import choose
from tests.pipelines.balances import write_balance
from tests.pipelines.speech_clips import CLIP
from tests.speech.signals import boats

CLIPS = [replace(CLIP, clip_id=f"toy-{k}", source_video=f"v{k}", shard=k % 2) for k in range(4)]
ASSETS = {"g2p_en": asset_path("g2p_en")}
PARAMS = Path(__file__).parents[2] / "conf" / "sample.yaml"


def write_corpus(place: Path, test_flac: bytes, test_text: str) -> None:
    """Two training clips (0 and 2, shard 0) and two test clips (1 and 3, shard 1)."""
    (place / "data/manifest").mkdir(parents=True)
    (place / "data/split").mkdir()
    rows = [vars(clip) for clip in CLIPS]
    table = pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)
    pq.write_table(table, place / "data/manifest/clips.parquet")
    write_balance(place / "data/manifest", "ingest", len(rows))
    split = [
        {"clip_id": clip.clip_id, "split": "test" if clip.shard else "train"} for clip in CLIPS
    ]
    pq.write_table(pa.Table.from_pylist(split), place / "data/split/split.parquet")
    for shard in (0, 1):
        ids = [clip.clip_id for clip in CLIPS if clip.shard == shard]
        flac = test_flac if shard else boats().flac
        text = dataset_transcript(test_text if shard else boats().text, "en").to_bytes()
        crops, texts = place / "data/crops", place / "data/transcripts"
        write_shard(crops / f"{shard:05d}.tar", {k: {"flac": flac} for k in ids})
        write_shard(texts / f"{shard:05d}.tar", {k: {"transcript.json": text} for k in ids})
        for folder in (crops, texts):
            write_balance(folder)
    (place / "params.yaml").write_bytes(PARAMS.read_bytes())


def trained(place: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    monkeypatch.chdir(place)
    align_train.main()
    Aligner.load(Path("models/aligner"))
    return {path.name: path.read_bytes() for path in Path("models/aligner").iterdir()}


def test_only_training_clips_make_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path / "a", boats().flac, boats().text)
    write_corpus(tmp_path / "b", b"not even sound", "Something quite different.")
    first = trained(tmp_path / "a", monkeypatch)
    assert set(first) == {"aligner.npz", "aligner.json", "curve.csv"}
    assert trained(tmp_path / "b", monkeypatch) == first
    lines = first["curve.csv"].decode().splitlines()
    assert lines[0] == "iteration,gaussians,log_likelihood,aligned"
    assert len(lines) == 27


def test_nothing_is_trained_for_another_aligner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = yaml.safe_load(PARAMS.read_text())
    values["speech"]["aligner"] = "pocketsphinx"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "models/aligner").mkdir(parents=True)
    (tmp_path / "models/aligner/aligner.npz").write_bytes(b"of another run")
    monkeypatch.chdir(tmp_path)
    align_train.main()  # there is no corpus: it costs nothing
    (marker,) = (tmp_path / "models/aligner").iterdir()
    assert json.loads(marker.read_text())["speech.aligner"] == "pocketsphinx"


def test_a_bad_dictionary_stops_the_stage_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.dict").write_text("we W IY1\nfound\n")
    monkeypatch.setattr(
        "pipelines.training.aligning.asset_path", lambda name: ASSETS.get(name) or Path(name)
    )
    values = yaml.safe_load(PARAMS.read_text())
    values["speech"]["dictionary"] = str(tmp_path / "own.dict")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DictionaryError, match="line 2: word 'found' has no phones"):
        align_train.main()


def test_no_training_clip_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_corpus(tmp_path, boats().flac, boats().text)
    none = pa.table({"clip_id": ["other"], "split": ["train"]})
    pq.write_table(none, tmp_path / "data/split/split.parquet")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StageError, match="no training clip"):
        align_train.main()


def test_little_speech_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_corpus(tmp_path, boats().flac, boats().text)
    seconds = 2 * CLIP.duration_s
    for enough, told in ((seconds + 0.1, True), (seconds, False)):
        monkeypatch.setattr(align_train, "ENOUGH_S", enough)
        trained(tmp_path, monkeypatch)
        said = " ".join(capsys.readouterr().err.split())
        assert f"2 clips of {seconds:.1f} s together" in said
        assert ("set speech.aligner to pocketsphinx" in said) == told


def test_the_draw_is_bounded_and_stable() -> None:
    clips = [replace(CLIP, clip_id=f"c{k:03d}", duration_s=36.0) for k in range(100)]
    some = choose(clips, max_hours=0.25)
    assert len(some) == 25
    assert choose(clips[::-1], max_hours=0.25) == some
    assert choose(clips, max_hours=0.5) > some
    assert len(choose(clips, max_hours=10.0)) == 100
