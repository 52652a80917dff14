"""Videos signed by a certificate of our own authority, read back by the library."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import av
import c2pa
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from typer.testing import CliRunner

from dimitra import __version__
from dimitra.animation.credentials import Credentials, load_signer, manifest
from dimitra.animation.errors import AnimationError
from dimitra.animation.film import write_film
from dimitra.cli import app
from dimitra.media.mark import metadata
from dimitra.shards import sha256_file
from tests.animation.certificates import make_credentials
from tests.animation.toy import photo, run_folder, sentence
from tests.speech.signals import boats

MODELS = {"lips/model.safetensors": "ab" * 32}


def film() -> bytes:
    """One second of noise and a tone, with the mark."""
    generator = np.random.default_rng(1)
    frames = list(generator.integers(0, 255, (25, 64, 64, 3), dtype=np.uint8))
    tone = (8000 * np.sin(np.arange(48_000) / 20)).astype(np.int16)
    buffer = io.BytesIO()
    write_film(buffer, frames, 64, 25, tone, 48_000, 23, "veryfast", metadata("noise"))
    return buffer.getvalue()


def signed(credentials: Credentials) -> bytes:
    out = io.BytesIO()
    load_signer(credentials).sign(io.BytesIO(film()), out, "noise.mp4", MODELS)
    return out.getvalue()


def read(video: bytes, root: Path | None = None) -> tuple[dict[str, Any], set[str]]:
    """The active manifest and state, and the codes of what the library has found wrong."""
    settings: dict[str, Any] = {"verify": {"verify_trust": root is not None}}
    if root is not None:
        settings["trust"] = {"trust_anchors": root.read_text()}
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Reader("video/mp4", io.BytesIO(video), context=context) as reader,
    ):
        content = json.loads(reader.json())
    active = content["manifests"][content["active_manifest"]]
    failures = content["validation_results"]["activeManifest"]["failure"]
    return active | {"state": content["validation_state"]}, {item["code"] for item in failures}


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["p256", "p384", "ed25519", "rsa"],
)
def test_a_signed_video_says_what_made_it(tmp_path: Path, key: Any) -> None:
    credentials = make_credentials(tmp_path, key)
    video = signed(credentials)
    claimed, failures = read(video, tmp_path / "root.pem")
    assert claimed["state"] == "Trusted"
    assert not failures
    assert claimed["title"] == "noise.mp4"
    assert claimed["claim_generator_info"][0]["name"] == "dimitra"
    assert claimed["claim_generator_info"][0]["version"] == __version__
    said = {item["label"]: item["data"] for item in claimed["assertions"]}
    [action] = said["c2pa.actions.v2"]["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert action["softwareAgent"]["name"] == "dimitra"
    assert said["dimitra.models"] == {"sha256": MODELS}

    with av.open(io.BytesIO(video)) as one, av.open(io.BytesIO(film())) as other:
        assert one.metadata["digital_source_type"] == other.metadata["digital_source_type"]
        for a, b in zip(one.decode(video=0), other.decode(video=0), strict=True):
            assert np.array_equal(a.to_ndarray(), b.to_ndarray())


def test_any_other_root_is_not_trusted(tmp_path: Path) -> None:
    make_credentials(tmp_path / "other")
    video = signed(make_credentials(tmp_path / "own"))
    claimed, failures = read(video, tmp_path / "other" / "root.pem")
    assert claimed["state"] == "Valid"
    assert failures == {"signingCredential.untrusted"}


@pytest.mark.parametrize("where", [0.5, 0.9])
def test_a_flipped_byte_is_seen(tmp_path: Path, where: float) -> None:
    video = bytearray(signed(make_credentials(tmp_path)))
    begin = video.index(b"mdat") + 4
    video[begin + int(where * (len(film()) // 2))] ^= 1
    claimed, failures = read(bytes(video), tmp_path / "root.pem")
    assert claimed["state"] == "Invalid"
    assert "assertion.bmffHash.mismatch" in failures


def test_a_changed_claim_is_seen(tmp_path: Path) -> None:
    video = signed(make_credentials(tmp_path))
    assert video.count(MODELS["lips/model.safetensors"].encode()) == 1
    forged = video.replace(b"ab" * 32, b"cd" * 32)
    claimed, failures = read(forged, tmp_path / "root.pem")
    assert claimed["state"] == "Invalid"
    assert "assertion.hashedURI.mismatch" in failures


def test_animate_signs(tmp_path: Path) -> None:
    from PIL import Image

    run_folder(tmp_path)
    Image.fromarray(photo()).save(tmp_path / "photo.png")
    (tmp_path / "speech.wav").write_bytes(sentence())
    make_credentials(tmp_path)
    arguments = [
        *("animate", "--image", str(tmp_path / "photo.png"), "--size", "64"),
        *("--audio", str(tmp_path / "speech.wav"), "--out", str(tmp_path / "a.mp4")),
        *("--models", str(tmp_path / "models"), "--transcript", boats().text),
        *("--c2pa-key", str(tmp_path / "key.pem")),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "needs both --c2pa-key and --c2pa-certificate" in result.output
    result = CliRunner().invoke(
        app, [*arguments, "--c2pa-certificate", str(tmp_path / "chain.pem")]
    )
    assert result.exit_code == 0, result.output
    claimed, failures = read((tmp_path / "a.mp4").read_bytes(), tmp_path / "root.pem")
    assert (claimed["state"], failures) == ("Trusted", set())
    [models] = [a["data"] for a in claimed["assertions"] if a["label"] == "dimitra.models"]
    weights = "lips/model.safetensors"
    assert models["sha256"][weights] == sha256_file(tmp_path / "models" / weights)
    [actions] = [a["data"] for a in claimed["assertions"] if a["label"] == "c2pa.actions.v2"]
    assert [action["action"] for action in actions["actions"]] == ["c2pa.created", "c2pa.edited"]
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.metadata["motion_edits"] == actions["actions"][1]["description"]
        assert "trainedAlgorithmicMedia" in container.metadata["digital_source_type"]
        assert sum(1 for _ in container.decode(video=0)) == 77


def test_motion_as_generated_has_no_edit() -> None:
    [actions] = [
        assertion["data"]["actions"]
        for assertion in manifest("noise.mp4", MODELS)["assertions"]
        if assertion["label"] == "c2pa.actions.v2"
    ]
    assert [action["action"] for action in actions] == ["c2pa.created"]


def _weak(folder: Path) -> Credentials:
    return make_credentials(folder, rsa.generate_private_key(65537, 1024))  # noqa: S505


def _foreign(folder: Path) -> Credentials:
    other = make_credentials(folder / "other")
    return Credentials(other.key, make_credentials(folder / "own").certificates)


def _no_key(folder: Path) -> Credentials:
    own = make_credentials(folder)
    return Credentials(own.certificates, own.certificates)


def _no_chain(folder: Path) -> Credentials:
    own = make_credentials(folder)
    return Credentials(own.key, own.key)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: Credentials(f / "none.pem", f / "chain.pem"), "none.pem is not there"),
        (_no_key, "is no private key in PEM"),
        (_no_chain, "holds no certificates in PEM"),
        (_foreign, "is not the key of the first certificate in"),
        (_weak, "Ed25519, and RSA from 2048 bits"),
        (lambda f: make_credentials(f, passphrase=b"secret"), "is encrypted; give a key without"),
        (lambda f: make_credentials(f, age_days=31), "which is not now; get another one"),
        (lambda f: make_credentials(f, age_days=-2), "which is not now; get another one"),
        (
            lambda f: make_credentials(f, purpose=ExtendedKeyUsageOID.SERVER_AUTH),
            "may not sign content: its extended key usage is 1.3.6.1.5.5.7.3.1, C2PA wants one of",
        ),
    ],
)
def test_what_cannot_sign(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(AnimationError) as raised:
        load_signer(make(tmp_path))
    assert message in str(raised.value)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(AnimationError, match=r"c2pa-python, which is not installed: pip install"):
        load_signer(make_credentials(tmp_path))
