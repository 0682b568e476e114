"""Signed bundles: only the configured key's signature of this exact manifest is accepted."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from runtime.bundle.manifest import open_bundle
from runtime.bundle.signature import SIGNATURE, sign_manifest
from runtime.core.errors import ConfigError, EngineUnavailable, SignatureInvalid, SignatureMissing, UnsafePath
from runtime.liveness.open import open_pipeline


def key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return key_pair(tmp_path, "owner")


def signed(folder: Path, private: Path) -> None:
    (folder / SIGNATURE).write_bytes(sign_manifest((folder / "manifest.json").read_bytes(), private))


def test_the_owner_s_bundle_loads(folder: Path, keys: tuple[Path, Path]) -> None:
    signed(folder, keys[0])
    open_pipeline(folder, public_key=keys[1])
    open_pipeline(folder)


def test_without_a_signature(folder: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(SignatureMissing, match="--sign"):
        open_bundle(folder, keys[1])


def test_what_is_not_this_bundle_s_signature(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    manifest = folder / "manifest.json"
    original = manifest.read_bytes()
    signed(folder, private)
    good = (folder / SIGNATURE).read_bytes()

    # A signature for a different bundle by the same key.
    other = json.loads(original) | {"version": "9.9.9"}
    (folder / SIGNATURE).write_bytes(sign_manifest(json.dumps(other).encode(), private))
    with pytest.raises(SignatureInvalid):
        open_bundle(folder, public)
    # A signature for this bundle by a different key.
    stranger, _ = key_pair(tmp_path, "stranger")
    signed(folder, stranger)
    with pytest.raises(SignatureInvalid, match="another key"):
        open_bundle(folder, public)
    # A manifest that was changed after signing, if only by one space.
    (folder / SIGNATURE).write_bytes(good)
    manifest.write_bytes(original + b" ")
    with pytest.raises(SignatureInvalid):
        open_bundle(folder, public)
    manifest.write_bytes(original)
    for damage in (b"", good[:-3], b"!" + good[1:], os.urandom(64), good * 4):
        (folder / SIGNATURE).write_bytes(damage)
        with pytest.raises(SignatureInvalid):
            open_bundle(folder, public)
    (folder / SIGNATURE).unlink()
    outside = tmp_path / "outside.sig"
    outside.write_bytes(good)
    (folder / SIGNATURE).symlink_to(outside)
    with pytest.raises(UnsafePath):
        open_bundle(folder, public)


def test_keys_that_cannot_be_used(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    signed(folder, keys[0])
    wrong = tmp_path / "wrong.pem"
    wrong.write_bytes(ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))  # fmt: skip
    with pytest.raises(ConfigError, match="not an Ed25519 key"):
        open_bundle(folder, wrong)
    wrong.write_text("no key")
    with pytest.raises(ConfigError, match="PEM"):
        open_bundle(folder, wrong)
    with pytest.raises(ConfigError, match="cannot be read"):
        open_bundle(folder, tmp_path / "none.pem")
    with pytest.raises(ConfigError, match="PEM"):
        sign_manifest(b"x", keys[1])


def test_without_the_library_a_configured_key_does_not_pass(
    folder: Path,
    keys: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signed(folder, keys[0])
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(EngineUnavailable, match=r"adsn\[sign\]"):
        open_bundle(folder, keys[1])
