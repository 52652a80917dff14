"""Whether a profile can run on this machine: what it uses, what is missing, the remedy."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dimitra import assets

WEIGHTS_KEYS = (
    *("crop.detector_weights", "crop.landmarks_weights", "fit.face_model_weights"),
    *("fit.encoder_weights", "transcribe.model", "speech.encoder_weights"),
    *(
        "speech.text_encoder_weights",
        "speech.dictionary",
        "render.weights",
        "train_renderer.vgg_weights",
        "sync.weights",
        "evaluate.face_weights",
        "evaluate.frame_weights",
        "evaluate.clip_weights",
    ),
)
"""Parameters that name weights or are null; as the schema has them, which is not the library's."""

_ALWAYS = ("g2p_en", "dlib_68")
"""Assets that every run loads: words outside the dictionary, and the landmark metrics."""

_OWN_RENDERER = "trained"
"""In ``render.weights``: made by the run itself."""

_INSTALL = "pip install -c constraints.txt -e ."
_EXTRAS = {
    "torchaudio": "pip install -c constraints.txt -e '.[gpu]'",
    "insightface": "pip install -c constraints.txt -e '.[insightface]' "
    "&& pip install --no-deps insightface==2.1",
}
_FREE_GB = {"paper": 200.0}
"""Room that a run takes: 2 MB a clip, twice where the file system cannot share blocks."""
_FREE_GB_ELSE = 4.0

_SCHEMA = "pipelines.params"
"""Module of the schema: it is not the library's, so it is imported by name where it is there."""

_DATASETS = {
    "voxceleb2": (
        "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html",
        "CC BY 4.0 (lists alone)",
    ),
    "hdtf": ("https://github.com/MRzzm/HDTF", "CC BY 4.0 (lists alone)"),
    "celebvhq": ("https://github.com/CelebV-HQ/CelebV-HQ", "research only; see its page"),
}
"""First folder of a split to where that dataset comes from, and its licence."""
_SPLIT_OPTION = {"voxceleb2": "--root", "hdtf": "--lists"}
"""Datasets whose lists a command of their own makes, and its option for their folder."""


class DoctorError(RuntimeError):
    """The profile cannot be looked at; the message says why."""


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        what: what was looked at.
        found: what was seen.
        ok: whether it will do.
        remedy: what to do if not; empty otherwise.
        licence: of an asset; empty for all else.
        home: of an asset: where to read about it.
    """

    what: str
    found: str
    ok: bool
    remedy: str
    licence: str = ""
    home: str = ""


@dataclass(frozen=True)
class Examined:
    """What was looked at: a parameter file's values.

    Attributes:
        file: the parameter file.
        values: its sections.
    """

    file: Path
    values: Mapping[str, Any]

    @property
    def profile(self) -> str:
        """The profile that the file says it is."""
        return str(self.values.get("profile", self.file.stem))

    def get(self, key: str) -> Any:
        """The value of ``section.key``; None where there is none."""
        section, _, name = key.partition(".")
        inside = self.values.get(section)
        return inside.get(name) if isinstance(inside, dict) else None

    def uses(self, key: str, *names: str) -> bool:
        """Whether a parameter has one of these values."""
        return self.get(key) in names


def _read(file: Path) -> Examined:
    import yaml

    try:
        values = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise DoctorError(f"{file} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise DoctorError(f"{file} holds no parameters")
    return Examined(file, values)


def _folders() -> list[Path]:
    return [Path("conf"), Path(__file__).resolve().parents[1] / "conf"]


def profiles() -> list[str]:
    """Profiles that there are, here or in the checkout that this module lies in."""
    return sorted({path.stem for folder in _folders() for path in folder.glob("*.yaml")})


def parameters(profile: str | None = None) -> Examined:
    """The parameters to look at: ``params.yaml`` where it is of this profile, else the profile's.

    Args:
        profile: its name; None for what ``params.yaml`` here says, or else ``sample``.

    Raises:
        DoctorError: no such profile, or a file that is not YAML.
    """
    here = Path("params.yaml")
    if here.is_file():
        examined = _read(here)
        if profile in (None, examined.profile):
            return examined
    name = profile or "sample"
    for folder in _folders():
        if (folder / f"{name}.yaml").is_file():
            return _read(folder / f"{name}.yaml")
    raise DoctorError(f"no profile is called {name!r}; there are: {', '.join(profiles())}")


def needed_assets(examined: Examined) -> list[str]:
    """References to all weights that a run with these parameters loads."""
    wanted = [examined.get(key) for key in WEIGHTS_KEYS]
    if examined.uses("crop.mesh", "mediapipe"):
        wanted.append("mediapipe_landmarker")
    if examined.uses("render.renderer", "mesh"):
        wanted.append("anny_head")
    listed = {asset.name for asset in assets.list_assets()}
    wanted += [name for name in _ALWAYS if name in listed]
    named = (one for one in wanted if isinstance(one, str) and one != _OWN_RENDERER)
    return list(dict.fromkeys(named))


def needed_packages(examined: Examined) -> list[str]:
    """Distributions that a run with these parameters imports."""
    wanted = ["torch", "ray", "dvc", "mlflow", "av", "dlib-bin", "faster-whisper"]
    insightface = examined.uses("crop.detector", "insightface") or examined.uses(
        "crop.landmarks", "insightface"
    )
    chosen = {
        "mediapipe": examined.uses("crop.mesh", "mediapipe"),
        "insightface": insightface,
        "onnxruntime": insightface or examined.uses("speech.encoder", "moonshine_base"),
        "transformers": examined.uses("speech.encoder", "wav2vec2_xlsr53_english", "wavlm_large")
        or examined.uses("speech.text_encoder", "clip_vit_b32"),
        "torchaudio": examined.uses("speech.encoder", "wav2vec2_base"),
        "kaldi-hmm-gmm": examined.uses("speech.aligner", "gmm"),
        "pocketsphinx": examined.uses("speech.aligner", "pocketsphinx"),
    }
    return wanted + [name for name, used in chosen.items() if used]


def _parameters(examined: Examined) -> Finding:
    """Whether the values fit the schema, as far as the schema is installed beside the library."""
    what = "parameters"
    try:
        schema = importlib.import_module(_SCHEMA)
    except ModuleNotFoundError:
        return Finding(what, "not checked: the schema is not installed here", True, "")
    try:
        schema.parse(dict(examined.values), str(examined.file))
    except schema.ParamsError as error:
        faults = str(error).splitlines()
        remedy = "\n".join([faults[0], *(fault.strip() for fault in faults[1:])])
        return Finding(what, f"{max(len(faults) - 1, 1)} not valid", False, remedy)
    return Finding(what, "fit the schema", True, "")


def _datasets(examined: Examined) -> Iterator[Finding]:
    """For each set: its folder, its lists, and the list of its clips where it names one."""
    root = Path(str(examined.get("datasets.root") or "datasets"))
    sets = examined.get("datasets.sets")
    for name, entry in sets.items() if isinstance(sets, dict) else ():
        if isinstance(entry, dict):
            yield _dataset(str(name), entry, root, str(examined.get("datasets.licence") or ""))


def _dataset(name: str, entry: Mapping[str, Any], root: Path, licence: str) -> Finding:
    what = f"dataset {name}"
    folder = root / str(entry.get("path", name))
    split = Path("splits") / str(entry.get("split", name))
    lists = [split / "train.txt", split / "test.txt"]
    if entry.get("clips"):
        lists.append(Path(str(entry["clips"])))
    there = folder.is_dir() and any(folder.iterdir())
    lost = [path for path in lists if not path.is_file()]
    kind = split.parts[1]
    home, licence = _DATASETS.get(kind, ("", licence))
    if there and not lost:
        return Finding(what, str(folder), True, "", licence, home)
    steps = []
    if not there:
        own = "make data, or put its videos there" if not home else f"get it from {home}"
        steps.append(f"{folder} is missing or empty: {own}")
    if lost:
        option = _SPLIT_OPTION.get(kind)
        command = (
            f"{kind} {option} {folder}"
            if option is not None
            else f"make {name} --version {split.name} --test-share SHARE"
        )
        steps.append(f"for {', '.join(map(str, lost))}; then: dimitra split {command}")
    missing = ([] if there else ["videos"]) + (["lists"] if lost else [])
    found = f"missing: {', '.join(missing)}"
    return Finding(what, found, False, "\n".join(steps), licence, home)


def _python() -> Finding:
    version = platform.python_version_tuple()
    ok = (int(version[0]), int(version[1])) == (3, 11)
    remedy = "" if ok else "use Python 3.11"
    return Finding("Python", platform.python_version(), ok, remedy)


def _disk(examined: Examined) -> Finding:
    free = shutil.disk_usage(".").free / 1e9
    wanted = _FREE_GB.get(examined.profile, _FREE_GB_ELSE)
    remedy = "" if free >= wanted else f"free {wanted:.0f} GB here"
    return Finding("free disk", f"{free:.0f} GB", free >= wanted, remedy)


def _libraries(examined: Examined) -> Finding:
    what = "system libraries"
    if not examined.uses("crop.mesh", "mediapipe"):
        return Finding(what, "not needed", True, "")
    from dimitra.faces.mediapipe import missing_packages

    missing = missing_packages()
    if not missing:
        return Finding(what, "MediaPipe's", True, "")
    remedy = f"apt-get install {' '.join(missing)}; or crop.mesh: none and fit.landmarks: dlib"
    return Finding(what, f"missing: {', '.join(missing)}", False, remedy)


def _packages(examined: Examined) -> Iterator[Finding]:
    """All that are here in one line, and one for each that is missing."""
    here = 0
    for name in needed_packages(examined):
        try:
            importlib.metadata.version(name)
            here += 1
        except importlib.metadata.PackageNotFoundError:
            remedy = _EXTRAS.get(name, _INSTALL)
            yield Finding(f"package {name}", "missing", False, remedy)
    yield Finding("packages", f"{here} used, here", True, "")


def _cuda(examined: Examined) -> Iterator[Finding]:
    keys = [f"{name}.device" for name in ("fit", "speech", "train", "render")]
    wanting = [key for key in keys if examined.uses(key, "cuda")]
    if not wanting:
        return
    import torch

    if torch.cuda.is_available():
        yield Finding("CUDA", torch.cuda.get_device_name(), True, "")
        return
    build = "torch has no CUDA in it" if torch.version.cuda is None else "no GPU answers"
    if examined.values.get("ray", {}).get("address"):
        yield Finding("CUDA", f"{build} here; the cluster's nodes were not asked", True, "")
        return
    where = f"{', '.join(f'{key}: cpu' for key in wanting)} in {examined.file}"
    yield Finding("CUDA", build, False, f"run where there is a GPU, or set {where}")


def _mfa(examined: Examined) -> Iterator[Finding]:
    if not examined.uses("speech.aligner", "mfa"):
        return
    from dimitra.speech.mfa_program import CONDA, MfaError, mfa_version

    options = examined.get("speech.mfa") or {}
    command = str(options.get("command", "mfa"))
    program = shutil.which(command)
    if program is None:
        remedy = (
            f"{CONDA}, and put its bin/mfa on PATH or into speech.mfa.command; or "
            "speech.aligner: gmm"
        )
        yield Finding(f"program {command}", "missing", False, remedy)
        return
    try:
        _, version = mfa_version(command)
    except (MfaError, OSError) as error:
        last = str(error).strip().splitlines()[-1]
        remedy = f"`{program} version` must name a version 3: {CONDA}; {last}"
        yield Finding(f"program {command}", "no MFA 3", False, remedy)
        return
    yield Finding(f"program {command}", version, True, "")
    yield from _mfa_models(command, options)


def _mfa_models(command: str, options: Mapping[str, Any]) -> Iterator[Finding]:
    root = Path(os.environ.get("MFA_ROOT_DIR", Path.home() / "Documents" / "MFA"))
    for key, kind in (("acoustic_model", "acoustic"), ("dictionary", "dictionary")):
        name = str(options.get(key, "english_us_arpa"))
        folder = root / "pretrained_models" / kind
        if Path(name).exists() or any(folder.glob(f"{name}.*")) or (folder / name).exists():
            yield Finding(f"MFA {kind}", name, True, "")
        else:
            remedy = f"{command} model download {kind} {name}"
            yield Finding(f"MFA {kind}", f"no {name}", False, remedy)


def _asset(reference: str) -> Finding:
    what = f"asset {reference}"
    try:
        asset = assets.get_asset(reference)
        state = assets.verify(reference)
    except assets.AssetError as error:
        return Finding(what, "unknown", False, str(error))
    licence = asset.licence + ("; not for commerce" if asset.commercial is False else "")
    remedy = {
        "ok": "",
        "missing": assets.remedy(asset),
        "not pinned": f"dimitra assets pin {reference}",
        "wrong": f"remove {assets.place(reference)}; {assets.remedy(asset)}"
        if asset.path is None
        else f"other bytes than pinned; on purpose: dimitra assets pin --replace {reference}",
    }[state]
    return Finding(what, state, state == "ok", remedy, licence, asset.home)


def _coefficients(examined: Examined) -> Iterator[Finding]:
    folder = examined.get("fit.coefficients")
    if examined.uses("fit.method", "precomputed") and folder is not None:
        ok = Path(str(folder)).is_dir()
        remedy = "" if ok else f"put the .mat files into {folder}, or change fit.coefficients"
        yield Finding("fit.coefficients", str(folder) if ok else "missing", ok, remedy)


def examine(profile: str | None = None) -> list[Finding]:
    """Look at parameters, machine, datasets and weights; all bytes of weights are hashed.

    Args:
        profile: which; None for what ``params.yaml`` here says.

    Raises:
        DoctorError: no such profile.
    """
    examined = parameters(profile)
    return [
        _parameters(examined),
        _python(),
        _disk(examined),
        _libraries(examined),
        *_packages(examined),
        *_cuda(examined),
        *_mfa(examined),
        *_datasets(examined),
        *_coefficients(examined),
        *(_asset(reference) for reference in needed_assets(examined)),
    ]
