"""Content credentials (C2PA): a video signed as made by a machine, with a key that the user gives.

``c2pa-python`` makes and signs the manifest; it is an extra (``pip install dimitra[c2pa]``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from dimitra import __version__
from dimitra.animation.errors import AnimationError
from dimitra.media.mark import COMMENT, GENERATED_MEDIA

MAX_BYTES = 1_000_000
"""Of a key or a chain."""
MODELS_ASSERTION = "dimitra.models"
"""Label of our own assertion: sha256 of each model file that made the video."""
_PURPOSES = {
    "1.3.6.1.5.5.7.3.4": "email protection",
    "1.3.6.1.5.5.7.3.36": "document signing",
    "1.3.6.1.4.1.62558.2.1": "C2PA claim signing",
}
"""Extended key usages that C2PA takes of a claim's signer (its specification, Trust Model)."""
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_MIN_RSA_BITS = 2048


@dataclass(frozen=True)
class Credentials:
    """Files that a signature needs.

    Attributes:
        key: private key, PEM, not encrypted: EC P-256, P-384 or P-521, Ed25519, or RSA.
        certificates: PEM chain, the signer's certificate first.
        timestamp_url: RFC 3161 time-stamping authority, which is asked over the network; None asks
            none, and the signature then counts for as long as the certificate.
    """

    key: Path
    certificates: Path
    timestamp_url: str | None = None


def given(
    key: Path | None, certificates: Path | None, timestamp_url: str | None
) -> Credentials | None:
    """Credentials of options of a command line; None where there are none.

    Raises:
        AnimationError: one goes without the other.
    """
    if key is not None and certificates is not None:
        return Credentials(key, certificates, timestamp_url)
    if (key, certificates, timestamp_url) != (None, None, None):
        raise AnimationError("a signature needs both --c2pa-key and --c2pa-certificate")
    return None


@dataclass(frozen=True, repr=False)
class Signer:
    """A key and a chain that fit each other; see ``load_signer``."""

    algorithm: str
    key: bytes
    certificates: bytes
    timestamp_url: str | None

    def sign(
        self,
        source: BinaryIO,
        out: BinaryIO,
        title: str,
        models: Mapping[str, str],
        edits: Sequence[str] = (),
    ) -> None:
        """Write ``source``, an mp4, to ``out`` with a signed manifest in it.

        Args:
            source: the video, open for reading.
            out: open for reading and writing, empty.
            title: file name of the video.
            models: sha256 of the files that made it, by name.
            edits: of the motion, after the models had made it.

        Raises:
            AnimationError: the library refuses the certificate, or the authority does not answer.
        """
        c2pa = _library()
        info = c2pa.C2paSignerInfo(
            self.algorithm.encode(),
            self.certificates,
            self.key,
            None if self.timestamp_url is None else self.timestamp_url.encode(),
        )
        try:
            with (
                c2pa.Signer.from_info(info) as signer,
                c2pa.Builder(json.dumps(manifest(title, models, edits))) as builder,
            ):
                builder.sign(signer, "video/mp4", source, out)
        except c2pa.C2paError as error:
            raise AnimationError(
                f"{title} cannot be signed: {error}; the certificate must fulfil C2PA's profile "
                "(docs/animate.md, section Content credentials)"
            ) from error


def manifest(title: str, models: Mapping[str, str], edits: Sequence[str] = ()) -> dict[str, Any]:
    """What is claimed of a video: made by which trained models and software, and edited how.

    Args:
        title: file name of the video.
        models: sha256 of the files that made it, by name.
        edits: of the motion, after the models had made it; each is an action ``c2pa.edited``.
    """
    software = {"name": "dimitra", "version": __version__}
    created = {
        "action": "c2pa.created",
        "digitalSourceType": GENERATED_MEDIA,
        "softwareAgent": software,
        "description": COMMENT,
    }
    edited = [
        {"action": "c2pa.edited", "softwareAgent": software, "description": edit} for edit in edits
    ]
    return {
        "claim_generator_info": [software],
        "title": title,
        "format": "video/mp4",
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created, *edited]}},
            {"label": MODELS_ASSERTION, "data": {"sha256": dict(models)}},
        ],
    }


def load_signer(credentials: Credentials) -> Signer:
    """Read key and chain, and refuse what no reader would accept, before any work is done.

    Raises:
        AnimationError: the package is missing; a file is missing or no PEM; the key is encrypted,
            too weak, or another certificate's; the certificate is out of date or for another use.
    """
    _library()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key_text = _read(credentials.key, "the C2PA key")
    chain_text = _read(credentials.certificates, "the C2PA certificate")
    key = _key(key_text, credentials.key)
    algorithm = _algorithm(key, credentials.key)
    leaf = _leaf(chain_text, credentials.certificates)
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise AnimationError(
            f"{credentials.key} is not the key of the first certificate in "
            f"{credentials.certificates}; put the signer's own certificate first"
        )
    _check_dates(leaf, credentials.certificates)
    _check_purpose(leaf, credentials.certificates)
    return Signer(algorithm, _pkcs8(key), chain_text, credentials.timestamp_url)


def _library() -> Any:
    try:
        import c2pa
    except ImportError:
        raise AnimationError(
            "content credentials need the package c2pa-python, which is not installed: "
            "pip install -c constraints.txt 'dimitra[c2pa]'"
        ) from None
    return c2pa


def _read(path: Path, what: str) -> bytes:
    try:
        if not path.is_file():
            raise AnimationError(f"{what} {path} is not there, or is no file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AnimationError(f"{what} {path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise AnimationError(f"{what} {path} has over {MAX_BYTES} bytes; it is no PEM file of one")
    return content


def _key(content: bytes, path: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(content, None)
    except TypeError:
        raise AnimationError(
            f"{path} is encrypted; give a key without a passphrase, which only you may read: "
            "openssl pkey -in KEY.pem -out PLAIN.pem && chmod 600 PLAIN.pem"
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AnimationError(f"{path} is no private key in PEM: {error}") from None


def _algorithm(key: Any, path: Path) -> str:
    """C2PA's name of the signature that a key makes."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _MIN_RSA_BITS:
        return "PS256"
    raise AnimationError(
        f"{path} is a key that C2PA does not sign with; it takes EC P-256, P-384 and P-521, "
        f"Ed25519, and RSA from {_MIN_RSA_BITS} bits"
    )


def _pkcs8(key: Any) -> bytes:
    """The form that the library reads, whatever the file's was."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    content: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return content


def _leaf(content: bytes, path: Path) -> Any:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(content)[0]
    except (ValueError, IndexError) as error:
        raise AnimationError(f"{path} holds no certificates in PEM: {error}") from None


def _check_dates(leaf: Any, path: Path) -> None:
    now = datetime.now(UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        raise AnimationError(
            f"the certificate in {path} counts from {leaf.not_valid_before_utc:%Y-%m-%d} to "
            f"{leaf.not_valid_after_utc:%Y-%m-%d}, which is not now; get another one"
        )


def _check_purpose(leaf: Any, path: Path) -> None:
    from cryptography import x509

    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        purposes = {usage.dotted_string for usage in usages}
    except x509.ExtensionNotFound:
        purposes = set()
    if not purposes & _PURPOSES.keys():
        allowed = ", ".join(f"{name} ({oid})" for oid, name in _PURPOSES.items())
        raise AnimationError(
            f"the certificate in {path} may not sign content: its extended key usage is "
            f"{', '.join(sorted(purposes)) or 'missing'}, C2PA wants one of {allowed}"
        )
