"""The doctor names what is missing, and how to get it."""

from __future__ import annotations

import ctypes
import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from dimitra import assets, cli, doctor, fetching
from dimitra.faces.mediapipe import SYSTEM_LIBRARIES, missing_packages
from dimitra.speech.mfa_program import CONDA
from pipelines.params import load, weights_keys, weights_of
from tests.stores import own_store

ROOT = Path(__file__).parent.parent
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def without_egl(monkeypatch: pytest.MonkeyPatch) -> None:
    load = ctypes.CDLL

    def cdll(name: str) -> ctypes.CDLL:
        if "EGL" in name:
            raise OSError(f"{name}: cannot open shared object file")
        return load(name)

    monkeypatch.setattr(ctypes, "CDLL", cdll)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without parameters, with a store of its own."""
    monkeypatch.chdir(tmp_path)
    own_store(tmp_path, monkeypatch)
    return tmp_path


def finding(what: str, profile: str | None = None) -> doctor.Finding:
    return next(found for found in doctor.examine(profile) if found.what == what)


def write(folder: Path, profile: str, **changes: str) -> None:
    """``params.yaml`` of a profile with lines replaced."""
    text = (ROOT / "conf" / f"{profile}.yaml").read_text()
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    (folder / "params.yaml").write_text(text)


def test_parameters_that_break_the_schema_are_told(here: Path) -> None:
    write(here, "sample")
    assert finding("parameters").ok
    write(here, "sample", a=("  detector:", "  detectr:"), b=("crf: 18", "crf: 99"))
    found = finding("parameters")
    assert (found.found, found.ok) == ("4 not valid", False)  # crf stands in two sections
    for fault in ("crop.detector: missing", "crop.detectr: unknown key", "render.crf: 99 is not"):
        assert fault in found.remedy
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert "all is there" not in result.output


def test_datasets_and_their_lists_are_looked_for(here: Path) -> None:
    write(here, "paper")
    found = finding("dataset voxceleb2")
    assert (found.found, found.ok) == ("missing: videos, lists", False)
    assert found.licence.startswith("CC BY 4.0 (lists alone)")
    assert found.home in found.remedy
    for name in ("train.txt", "test.txt", "clips.txt"):
        assert f"splits/voxceleb2/v1/{name}" in found.remedy
    assert "dimitra split voxceleb2 --root datasets/VoxCeleb2" in found.remedy
    (here / "datasets" / "HDTF" / "videos").mkdir(parents=True)
    split = here / "splits" / "hdtf" / "v1"
    split.mkdir(parents=True)
    (split / "test.txt").touch()
    found = finding("dataset hdtf")
    assert (found.found, found.ok) == ("missing: lists", False)
    assert "for splits/hdtf/v1/train.txt; then" in found.remedy
    assert "dimitra split hdtf --lists datasets/HDTF" in found.remedy
    (split / "train.txt").touch()
    assert finding("dataset hdtf").ok
    write(here, "sample")
    found = finding("dataset chorus")
    assert found.licence == "CC0-1.0"
    assert "make data" in found.remedy
    assert "dimitra split make chorus --version v1" in found.remedy


@pytest.mark.usefixtures("without_egl")
def test_a_missing_library_is_named_with_its_debian_package(here: Path) -> None:
    write(here, "sample", mesh=("mesh: none", "mesh: mediapipe"))
    assert missing_packages() == ("libegl1",)
    found = finding("system libraries")
    assert not found.ok
    assert "apt-get install libegl1" in found.remedy
    assert "fit.landmarks: dlib" in found.remedy
    write(here, "sample")
    assert finding("system libraries").ok


def test_make_installs_the_libraries_that_the_doctor_asks_for() -> None:
    line = re.search(r"^MEDIAPIPE_LIBRARIES := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert line is not None
    pairs = dict(pair.split("=") for pair in line[1].split())
    assert pairs == dict(SYSTEM_LIBRARIES)


def test_the_doctor_knows_every_parameter_that_names_weights() -> None:
    assert set(doctor.WEIGHTS_KEYS) == set(weights_keys())
    for profile in ("sample", "paper"):
        file = ROOT / "conf" / f"{profile}.yaml"
        named = weights_of(load(file)).values()
        examined = doctor.Examined(file, yaml.safe_load(file.read_text()))
        needed = doctor.needed_assets(examined)
        assert set(named) <= set(needed)
        for reference in needed:
            assert profile in assets.get_asset(reference).profiles


def test_packages_are_asked_for_only_where_they_are_used(here: Path) -> None:
    sample, paper = (doctor.parameters(name) for name in ("sample", "paper"))
    assert {"kaldi-hmm-gmm", "onnxruntime"} <= set(doctor.needed_packages(sample))
    assert not {"torchaudio", "insightface", "mediapipe"} & set(doctor.needed_packages(sample))
    assert {"insightface", "transformers"} <= set(doctor.needed_packages(paper))
    assert not {"torchaudio", "kaldi-hmm-gmm"} & set(doctor.needed_packages(paper))
    write(here, "paper", a=("encoder: wav2vec2_xlsr53_english", "encoder: wav2vec2_base"))
    assert "torchaudio" in doctor.needed_packages(doctor.parameters())


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "needed_packages", lambda _: ["numpy", "no-such-distribution"])
    examined = doctor.parameters("sample")
    missing, here = doctor._packages(examined)
    assert (missing.what, missing.ok) == ("package no-such-distribution", False)
    assert "constraints.txt" in missing.remedy
    assert here.found.startswith("1 ")


def test_params_here_are_looked_at_where_they_are_of_the_profile(here: Path) -> None:
    assert doctor.parameters().profile == "sample"
    assert doctor.parameters().file.parent.name == "conf"
    write(here, "paper", a=("model: whisper_small_en", "model: whisper_tiny"))
    assert doctor.parameters("paper").file == Path("params.yaml")
    assert doctor.parameters().get("transcribe.model") == "whisper_tiny"
    assert doctor.parameters("sample").file.parent.name == "conf"
    with pytest.raises(doctor.DoctorError, match=r"'papr'; there are: .*paper.*sample"):
        doctor.parameters("papr")


def test_every_state_of_an_asset_has_its_remedy(here: Path) -> None:
    mine = here / "mine.mat"
    mine.write_bytes(b"abc")
    hub = f"hf:a/b@{COMMIT}"
    write(
        here,
        "paper",
        a=("face_model_weights: bfm_2009", f"face_model_weights: {mine}"),
        b=("model: whisper_small_en", f"model: {hub}"),
        c=("weights: pirender_256", "weights: nonsense"),
    )
    found = finding(f"asset {mine}")
    assert (found.found, found.remedy) == ("not pinned", f"dimitra assets pin {mine}")
    assert finding(f"asset {hub}").remedy == f"dimitra assets fetch {hub}"
    assert "no asset is called 'nonsense'" in finding("asset nonsense").remedy
    fetching.pin(str(mine))
    assert finding(f"asset {mine}").ok
    mine.write_bytes(b"abd")
    found = finding(f"asset {mine}")
    assert (found.found, found.ok) == ("wrong", False)
    assert "pin --replace" in found.remedy
    mine.unlink()
    assert str(mine) in finding(f"asset {mine}").remedy


def test_mfa_and_its_models_are_looked_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(here / "bin"))
    missing = finding("program mfa", "paper")
    assert "montreal-forced-aligner" in missing.remedy
    program = here / "bin" / "mfa"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 3.2.1\n")
    program.chmod(0o755)
    monkeypatch.setenv("MFA_ROOT_DIR", str(here / "MFA"))
    assert (finding("program mfa", "paper").found, finding("program mfa", "paper").ok) == (
        "3.2.1",
        True,
    )
    assert finding("MFA acoustic", "paper").remedy == (
        "mfa model download acoustic english_us_arpa"
    )
    for kind, name in (("acoustic", "english_us_arpa.zip"), ("dictionary", "english_us_arpa.dict")):
        folder = here / "MFA" / "pretrained_models" / kind
        folder.mkdir(parents=True)
        (folder / name).write_text("")
        assert finding(f"MFA {kind}", "paper").ok
    program.write_text("#!/bin/sh\necho cannot import kalpy >&2\nexit 1\n")
    assert "cannot import kalpy" in finding("program mfa", "paper").remedy
    for answer in ("version", "2.2.17"):  # of a program that is no MFA, and of another MFA
        program.write_text(f"#!/bin/sh\necho {answer}\n")
        found = finding("program mfa", "paper")
        assert (found.found, found.ok) == ("no MFA 3", False)
        assert CONDA in found.remedy
    assert CONDA in (ROOT / "docs" / "speech.md").read_text()


def test_the_paper_profile_is_told_in_one_screen_with_its_remedies_whole(here: Path) -> None:
    result = CliRunner().invoke(cli.app, ["doctor", "--profile", "paper"])
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 100
    for name in ("insightface_buffalo_l", "deng_epoch_20", "wav2vec2_xlsr53_english", "dlib_68"):
        assert f"dimitra assets fetch {name}" in result.output
        assert assets.get_asset(name).home in result.output
    for name in ("bfm_2009", "pirender_256"):
        assert f"dimitra assets add {name} PATH" in result.output
    assert "https://faces.dmi.unibas.ch/bfm/main.php?nav=1-2&id=downloads" in result.output


OPTIONAL = {
    "ArcFace (identity_sim, face_fd)": "dimitra assets fetch insightface_buffalo_l",
    "published SyncNet (sync_dist, sync_conf)": "dimitra assets fetch syncnet_v2",
    "VGG19 (perceptual loss of a renderer)": "dimitra assets fetch vgg19",
    "Inception v3 (fid), I3D (fvd)": "ONNX in evaluate.frame_weights, evaluate.clip_weights",
}


def test_networks_that_a_profile_does_without_are_told_in_a_line_each(here: Path) -> None:
    write(here, "sample")
    lines = CliRunner().invoke(cli.app, ["doctor"]).output.splitlines()
    for what, how in OPTIONAL.items():
        (line,) = [line for line in lines if what in line]
        assert line.endswith(f"; {how}")
        assert len(line) <= 100
    paper = CliRunner().invoke(cli.app, ["doctor", "--profile", "paper", "--json"])
    told = {one["what"] for one in json.loads(paper.output)["optional"]}
    assert told == set(OPTIONAL) - {
        "ArcFace (identity_sim, face_fd)",
        "published SyncNet (sync_dist, sync_conf)",
    }


def test_an_optional_network_that_is_there_names_its_switch(here: Path) -> None:
    weights = here / "syncnet_v2.model"
    weights.write_bytes(b"abc")
    fetching.add("syncnet_v2", weights)
    inception = here / "inception.onnx"
    inception.write_bytes(b"abc")
    write(here, "sample", a=("frame_weights: null", f"frame_weights: {inception}"))
    output = CliRunner().invoke(cli.app, ["doctor"]).output
    assert "published SyncNet (sync_dist, sync_conf): ok; sync.network: published" in output
    assert "  I3D (fvd): not named; ONNX in evaluate.clip_weights" in output
    assert "Inception v3" not in output


def test_for_programs_the_same_as_json(here: Path) -> None:
    result = CliRunner().invoke(cli.app, ["doctor", "--profile", "paper", "--json"])
    assert result.exit_code == 1
    report = json.loads(result.output)
    assert (report["profile"], report["ok"]) == ("paper", False)
    rows = {row["what"]: row for row in report["findings"]}
    assert rows["asset bfm_2009"]["found"] == "missing"
    assert rows["asset bfm_2009"]["licence"].startswith("Basel Face Model licence")


def test_all_there_is_exit_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the sample's weights in the shared store."""
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(cli.app, ["doctor", "--profile", "sample"])
    assert result.exit_code == 0, result.output
    assert "all is there" in result.output
    result = CliRunner().invoke(cli.app, ["doctor", "--profile", "papr"])
    assert result.exit_code == 2
    assert "there are: paper, sample" in result.output
