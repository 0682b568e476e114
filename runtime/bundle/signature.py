"""Detached Ed25519 signatures of a bundle's manifest, which names every file by its digest.

Optional: digests tell damage from wholeness, a signature tells whose bundle it is. Where a public key is configured,
a bundle without that key's signature is not loaded.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Any

from runtime.core.errors import ConfigError, EngineUnavailable, SignatureInvalid, SignatureMissing
from runtime.core.user_text import without_mark

SIGNATURE = "manifest.sig"
MAX_SIGNATURE_BYTES = 256
CONTEXT = b"adsn bundle manifest\0"
"""Goes before the signed bytes, so that a signature made for something else is never one of a bundle."""


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise EngineUnavailable("signatures need the package cryptography: pip install 'adsn[sign]'.") from error
    return ed25519


def _pem(path: Path, what: str, read: str) -> Any:
    kind = getattr(_ed25519(), what)
    from cryptography.hazmat.primitives import serialization

    load: Any = getattr(serialization, read)
    try:
        data = without_mark(path.read_bytes())
        key = load(data, None) if read == "load_pem_private_key" else load(data)
    except OSError as error:
        raise ConfigError(f"{path}: the key cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: not an unencrypted key in PEM: {error}") from error
    if not isinstance(key, kind):
        raise ConfigError(f"{path}: not an Ed25519 key. Make one: adsn-serve keygen --out key.pem")
    return key


def read_private_key(path: Path) -> Any:
    """The Ed25519 private key at ``path`` (PEM, unencrypted).

    Raises:
        ConfigError: it cannot be used. EngineUnavailable: cryptography is not installed.
    """
    return _pem(path, "Ed25519PrivateKey", "load_pem_private_key")


def read_public_key(path: Path) -> Any:
    """The Ed25519 public key at ``path`` (PEM). Raises as `read_private_key`."""
    return _pem(path, "Ed25519PublicKey", "load_pem_public_key")


def write_key_pair(private: Path) -> Path:
    """Make an Ed25519 key: ``private`` in PEM, readable by its owner alone, and its public half beside it,
    ``.pub.pem``.

    Returns the path of the public half. Nothing is ever written over.

    Raises:
        ConfigError: one of the two exists, or cannot be written. EngineUnavailable: cryptography is not installed.
    """
    key = _ed25519().Ed25519PrivateKey.generate()
    from cryptography.hazmat.primitives import serialization as s

    public = private.with_suffix(".pub.pem")
    secret: bytes = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    shown: bytes = key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    if public.exists():
        raise ConfigError(f"{public}: there is a key already; name another file.")
    for path, data, mode in ((private, secret, 0o600), (public, shown, 0o644)):
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
                stream.write(data)
        except FileExistsError as error:
            raise ConfigError(f"{path}: there is a key already; name another file.") from error
        except OSError as error:
            raise ConfigError(f"{path}: the key cannot be written: {error.strerror}.") from error
    return public


def sign_manifest(manifest: bytes, private_key: Path) -> bytes:
    """The content of `SIGNATURE` for ``manifest``. ``private_key``: an Ed25519 key in PEM, unencrypted.

    Raises:
        ConfigError: the key cannot be used. EngineUnavailable: cryptography is not installed.
    """
    key = read_private_key(private_key)
    signature: bytes = key.sign(CONTEXT + manifest)
    return base64.b64encode(signature) + b"\n"


def require_signature(manifest: bytes, signature: bytes | None, public_key: Path, where: str) -> None:
    """Raise unless ``signature`` is that of ``manifest`` by ``public_key`` (PEM).

    Raises:
        SignatureMissing: there is none. SignatureInvalid: it is damaged, another key's, or another bundle's.
        ConfigError: the key cannot be used. EngineUnavailable: cryptography is not installed.
    """
    key = read_public_key(public_key)
    if signature is None:
        raise SignatureMissing(
            f"{where}: no {SIGNATURE}, but a public key is configured. Sign the bundle (adsn-export --sign KEY), or "
            "take the key out of the configuration."
        )
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(base64.b64decode(signature.strip(), validate=True), CONTEXT + manifest)
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise SignatureInvalid(
            f"{where}: {SIGNATURE} is not this manifest's signature by {public_key}. The bundle was changed, signed by "
            "another key, or the signature belongs to another bundle; it will not be loaded."
        ) from error
