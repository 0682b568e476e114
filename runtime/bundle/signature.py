"""Detached Ed25519 signatures of a bundle's manifest, which names every file by its digest.

Signatures are optional. Digests detect damage; a signature proves who made the bundle. If a public key is configured,
only bundles signed with the matching private key are loaded.
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
"""Prefix of the signed bytes. Because of it, a signature made for another purpose is never valid for a bundle."""


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
        raise ConfigError(f"{path}: not an Ed25519 key. Create one: adsn-serve keygen --out key.pem")
    return key


def read_private_key(path: Path) -> Any:
    """Return the Ed25519 private key at ``path`` (PEM, unencrypted).

    Raises:
        ConfigError: the key cannot be used. EngineUnavailable: cryptography is not installed.
    """
    return _pem(path, "Ed25519PrivateKey", "load_pem_private_key")


def read_public_key(path: Path) -> Any:
    """Return the Ed25519 public key at ``path`` (PEM). Raises the same errors as `read_private_key`."""
    return _pem(path, "Ed25519PublicKey", "load_pem_public_key")


def write_key_pair(private: Path) -> Path:
    """Create an Ed25519 key pair and return the path of the public key.

    The private key is written to ``private`` (PEM, readable only by its owner), the public key next to it with the
    suffix ``.pub.pem``. Existing files are never overwritten.

    Raises:
        ConfigError: one of the files exists or cannot be written. EngineUnavailable: cryptography is not installed.
    """
    key = _ed25519().Ed25519PrivateKey.generate()
    from cryptography.hazmat.primitives import serialization as s

    public = private.with_suffix(".pub.pem")
    secret: bytes = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    shown: bytes = key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    if public.exists():
        raise ConfigError(f"{public}: a key already exists; name another file.")
    for path, data, mode in ((private, secret, 0o600), (public, shown, 0o644)):
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
                stream.write(data)
        except FileExistsError as error:
            raise ConfigError(f"{path}: a key already exists; name another file.") from error
        except OSError as error:
            raise ConfigError(f"{path}: the key cannot be written: {error.strerror}.") from error
    return public


def sign_manifest(manifest: bytes, private_key: Path) -> bytes:
    """Return the content of `SIGNATURE` for ``manifest``. ``private_key``: an Ed25519 key (PEM, unencrypted).

    Raises:
        ConfigError: the key cannot be used. EngineUnavailable: cryptography is not installed.
    """
    key = read_private_key(private_key)
    signature: bytes = key.sign(CONTEXT + manifest)
    return base64.b64encode(signature) + b"\n"


def require_signature(manifest: bytes, signature: bytes | None, public_key: Path, where: str) -> None:
    """Verify that ``signature`` is a signature of ``manifest`` by the owner of ``public_key`` (PEM). ``where``: name of
    the bundle in error messages.

    Raises:
        SignatureMissing: there is no signature.
        SignatureInvalid: the signature is damaged, or was made with a different key or for a different bundle.
        ConfigError: the key cannot be used. EngineUnavailable: cryptography is not installed.
    """
    key = read_public_key(public_key)
    if signature is None:
        raise SignatureMissing(
            f"{where} has no {SIGNATURE}, but a public key is configured. Sign the bundle (adsn-export --sign KEY), or "
            "remove the key from the configuration."
        )
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(base64.b64decode(signature.strip(), validate=True), CONTEXT + manifest)
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise SignatureInvalid(
            f"{where}: {SIGNATURE} is not a signature of this manifest by {public_key}. The bundle was changed or "
            "signed with another key, or the signature belongs to another bundle. It is not loaded."
        ) from error
