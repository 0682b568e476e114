"""Checks of both programs before they open anything: cameras, geometry, model, keys, certificates."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle.signature import write_key_pair
from runtime.core.errors import ConfigError
from runtime.geometry.calibration_file import load_geometry, save_geometry
from runtime.liveness.open import default_bundle
from service.auth.keys import KeyEntry
from service.cli.check import check as check_service
from service.config.settings import Settings
from service.kiosk.check import check as check_kiosk
from service.kiosk.config import KioskSettings
from tests.support.geometry.rigs import rig as rig_geometry
from tests.support.service.certificates import Authority, encrypted, rsa_key

RIG = {"rgb": "synthetic:", "ir": "synthetic:"}
Check = Callable[[Mapping[str, Any]], None]


@pytest.fixture(params=["service", "kiosk"])
def check(request: pytest.FixtureRequest) -> Check:
    if request.param == "service":
        return lambda given: check_service(Settings.model_validate(given))
    return lambda given: check_kiosk(KioskSettings.model_validate({"rig": RIG, **given}))


def refused(check: Check, given: Mapping[str, Any], *says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(given)
    for words in says:
        assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_good_settings_pass(check: Check, tmp_path: Path) -> None:
    private = tmp_path / "key.pem"
    write_key_pair(private)
    path = tmp_path / "geometry.json"
    save_geometry(rig_geometry(), path)
    check({"attestation": {"key": private}, "audit": {"path": tmp_path / "audit.jsonl"}})
    check({"rig": {**RIG, "geometry": path}})
    assert not (tmp_path / "audit.jsonl").exists()


def test_one_camera_twice(check: Check) -> None:
    twice = {"rgb": "v4l2:/dev/video98", "ir": "v4l2:/dev/video98?fourcc=GREY"}
    refused(check, {"rig": twice}, "rig.rgb and rig.ir name the same camera", "adsn-rig list")


def test_wrong_camera_options(check: Check) -> None:
    for options, says in (("size=640*480", "the option size must be"), ("zoom=2", "have no option 'zoom'")):
        refused(check, {"rig": {**RIG, "rgb": f"v4l2:/dev/video98?{options}"}}, "rig.rgb: v4l2:/dev/video98", says)
    refused(check, {"rig": {"rgb": "synthetic:"}}, "two cameras")


def test_a_geometry_that_is_damaged_or_of_another_rig(check: Check, tmp_path: Path) -> None:
    path = tmp_path / "geometry.json"
    rig = {**RIG, "geometry": path}
    refused(check, {"rig": rig}, f"rig.geometry: {path}: No such file", "adsn-calib rig")
    save_geometry(rig_geometry(), path)
    assert set(load_geometry(path).cameras) == {"rgb", "ir"}
    found = json.loads(path.read_text())
    path.write_text(path.read_text()[:100])
    refused(check, {"rig": rig}, f"rig.geometry: {path}: ", "Invalid JSON")
    path.write_text(json.dumps(found))
    refused(check, {"rig": {**rig, "rgb": "synthetic:?size=320x240"}}, "requests 320x240", "calibrate at this one")
    found["cameras"]["depth"] = found["cameras"].pop("ir")
    path.write_text(json.dumps(found))
    refused(check, {"rig": rig}, f"rig.geometry: {path} has no ir camera", "adsn-calib rig")


def test_a_model_that_cannot_be_used(check: Check, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    refused(check, {"bundle": bundle}, f"bundle: {bundle}: no such model folder")
    shutil.copytree(default_bundle(), bundle)
    check({"bundle": bundle})
    refused(check, {"rig": {"ir": "synthetic:", "depth": "synthetic:"}}, "rig.rgb: not set", "takes rgb and ir")
    (bundle / "golden.npz").write_bytes(b"damaged")
    refused(check, {"bundle": bundle}, "bundle: ", "golden.npz", "fetch the bundle again")
    refused(check, {"bundle_key": tmp_path / "absent.pem"}, "bundle: ", "absent.pem")


def test_a_precision_that_the_bundle_lacks(check: Check, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(default_bundle(), bundle)
    for name in ("model.onnx", "model.int8-trt.onnx", "model.int8-trt11.onnx"):
        (bundle / name).unlink(missing_ok=True)
    check({"bundle": bundle, "precision": "int8"})
    for engine in ("auto", "onnx-cpu"):
        refused(
            check, {"bundle": bundle, "precision": "fp32", "engine": engine}, "precision: ", "contains no fp32 model"
        )


def test_keys_that_sign(check: Check, tmp_path: Path) -> None:
    key = rsa_key(tmp_path / "rsa.pem")
    refused(check, {"attestation": {"key": key}}, f"attestation.key: {key}: not an Ed25519 key", "adsn-serve keygen")
    refused(check, {"attestation": {"key": encrypted(key)}}, "attestation.key: ", "not an unencrypted key")
    refused(check, {"attestation": {"key": tmp_path / "absent.pem"}}, "attestation.key: ", "cannot be read")


def test_where_the_audit_log_cannot_lie(check: Check, tmp_path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(tmp_path / "elsewhere.jsonl")
    refused(check, {"audit": {"path": tmp_path}}, "audit.path: ", "is a folder")
    refused(check, {"audit": {"path": tmp_path / "no" / "audit.jsonl"}}, "audit.path: the folder")
    refused(check, {"audit": {"path": link}}, "audit.path: ", "is a symbolic link")


def test_a_scoring_server(check: Check, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("kiosk")
    url = "https://scores.example:8000"
    for remote, says in (
        ({"url": "scores.example:8000"}, "not a scoring server's address. Use https://HOST:PORT"),
        ({"url": "http://scores.example"}, "unencrypted"),
        ({"url": url, "ca": key}, "remote.ca: "),
        ({"url": url, "certificate": certificate, "certificate_key": encrypted(key)}, "remote.certificate_key: "),
    ):
        refused(check, {"engine": "remote", "remote": remote}, "remote", says)
    check({"engine": "remote", "remote": {"url": url, "certificate": certificate, "certificate_key": key}})


def test_a_face_detector_of_ones_own(check: Check, tmp_path: Path) -> None:
    model = tmp_path / "face.onnx"
    refused(check, {"face": {"kind": "yunet", "model": model}}, "face.model: ", "cannot be read")
    model.write_bytes(b"no model")
    refused(check, {"face": {"kind": "yunet", "model": model}}, "face.model: ")


def test_the_file_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"

    def service(given: Mapping[str, Any]) -> None:
        check_service(Settings.model_validate(given))

    refused(service, {"auth": {"keys": path}}, f"auth.keys: {path}: the keys cannot be read")
    path.write_text("[[keys]]\nid = 1\n")
    refused(service, {"auth": {"keys": path}}, f"auth.keys: {path}: keys.0.id")
    entry = KeyEntry(id="0" * 12, roles=("score",), sha256="0" * 64)
    text = f'[[keys]]\nid = "{entry.id}"\nroles = ["score"]\nsha256 = "{entry.sha256}"\n'
    path.write_text(text * 2)
    refused(service, {"auth": {"keys": path}}, "auth.keys: two keys have the id")
    path.write_text(text)
    service({"auth": {"keys": path}})
