"""Guarantees of `POST /liveness` beyond the form of the response: cameras, nonces, replays, explanations, ages,
depth."""

from __future__ import annotations

import base64
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from runtime.core.errors import StoreUnavailable
from service.app import components_of
from service.config.settings import LimitSettings, Settings
from service.config.trust import AuditSettings
from service.http.problem_document import Problem
from service.store.base import Claim
from service.store.memory import MemoryStore
from tests.support.fakes import FakeFeed, face_pair
from tests.support.images import encode, ir_file, rgb_file, textured
from tests.support.service.answers import checked
from tests.support.service.liveness_requests import check_problem, meta, pair
from tests.support.service.running_service import RunningService, running
from tests.support.waiting import until


def camera(service: RunningService, **body: Any) -> httpx.Response:
    return service.client.post("/liveness", json={"source": "camera", **body})


def test_the_next_pair_of_the_rig_is_judged() -> None:
    feed = FakeFeed()
    old = time.monotonic_ns() - 10**9
    feed.put(replace(face_pair(), rgb_time_ns=old, ir_time_ns=old))
    with running(Settings(), feed=feed) as service:
        answers: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(camera(service, timeout_ms=15_000, session_id="gate", nonce="12345678"))
        )
        asking.start()
        until(lambda: feed.waits >= 2)
        assert answers == []  # the pair from before the request is not used
        now = time.monotonic_ns()
        feed.put(replace(face_pair(), rgb_time_ns=now, ir_time_ns=now + 2_000_000, clock="synthetic", generation=3))
        asking.join(20)
    body = checked(answers[0].json())
    age_ms = body["pair"]["age_ms"]
    assert body["pair"] == {"skew_ms": 2.0, "age_ms": age_ms, "clock": "synthetic", "epoch": 3, "source": "camera"}
    assert age_ms is not None
    assert body["session_id"] == "gate"
    assert {"wait", "locate", "inference", "total"} <= set(body["timing_ms"])


def test_a_stale_pair_of_the_rig_is_uncertain() -> None:
    old = time.monotonic_ns() - 2 * 10**9
    feed = FakeFeed([(0.05, replace(face_pair(), rgb_time_ns=old, ir_time_ns=old, clock="synthetic"))], repeat=True)
    with running(Settings(), feed=feed) as service:
        feed.start()
        body = camera(service, timeout_ms=15_000).json()
    feed.close()
    assert (body["decision"], body["reasons"]) == ("uncertain", ["pair_stale"])


def test_without_a_rig_there_is_no_pair(service: RunningService) -> None:
    body = check_problem(camera(service), 503, "no_rig")
    assert body["retryable"] is False


def test_a_rig_that_gives_nothing_says_how_its_cameras_are() -> None:
    feed = FakeFeed()
    feed.camera("rgb", "running")
    feed.camera("ir", "lost", last_error_code="camera_lost")
    feed.set(advice="Plug the infrared camera in again.")
    with running(Settings(), feed=feed) as service:
        response = camera(service, timeout_ms=50)
        ready = service.client.get("/readyz")
    body = check_problem(response, 504, "capture_timeout")
    Problem.model_validate(body)
    assert response.headers["retry-after"]
    assert body["cameras"][1] == {"modality": "ir", "state": "lost", "error": "camera_lost"}
    assert "Plug" in body["advice"]
    # Uploads are scored nevertheless, so the service is ready, and it reports the problem.
    assert ready.status_code == 200
    assert {("camera_lost", "ir"), ("no_pairs", "")} <= {(c["name"], c["subject"]) for c in ready.json()["conditions"]}


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"{", b'{"source": "upload"}', b'{"source": "camera", "timeout_ms": 0}', b"null", b"\xff"]
)
def test_a_wrong_camera_request(service: RunningService, body: bytes) -> None:
    response = service.client.post("/liveness", content=body, headers={"Content-Type": "application/json"})
    check_problem(response, 400, "malformed_request")


def test_a_nonce_counts_once(service: RunningService) -> None:
    first = service.judge(pair(nonce="a-nonce-of-mine"))
    assert first.status_code == 200
    body = check_problem(service.judge(pair(nonce="a-nonce-of-mine")), 409, "replayed_nonce")
    assert body["retryable"] is False
    assert service.judge(pair(nonce="another-nonce")).status_code == 200


def test_a_nonce_whose_request_failed_may_be_tried_again(service: RunningService) -> None:
    refused = service.judge({**pair(nonce="tried-again"), "rgb": b"no image"})
    check_problem(refused, 415, "not_an_image")
    assert service.judge(pair(nonce="tried-again")).status_code == 200


def test_nonces_take_bounded_room_and_none_is_forgotten_early() -> None:
    with running(Settings(limits=LimitSettings(replays=2))) as small:
        for name in ("one-nonce", "two-nonce"):
            assert small.judge(pair(nonce=name)).status_code == 200
        full = small.judge(pair(nonce="three-nonce"))
        check_problem(full, 429, "rate_limited")
        assert 1 <= int(full.headers["retry-after"]) <= 600
        check_problem(small.judge(pair(nonce="one-nonce")), 409, "replayed_nonce")


def test_the_same_request_with_the_same_key_is_judged_once(service: RunningService) -> None:
    request = service.client.build_request(
        "POST", "/liveness", files=pair(nonce="only-once-ever"), headers={"Idempotency-Key": "k-1"}
    )
    request.read()
    first, second = service.client.send(request), service.client.send(request)
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"


def test_a_key_of_another_request_is_a_conflict(service: RunningService) -> None:
    assert service.judge(pair(), headers={"Idempotency-Key": "k-2"}).status_code == 200
    check_problem(service.judge(pair(90), headers={"Idempotency-Key": "k-2"}), 409, "idempotency_conflict")
    check_problem(service.judge(pair(), headers={"Idempotency-Key": "x" * 200}), 400, "malformed_request")


def test_a_failed_request_keeps_no_key(service: RunningService) -> None:
    refused = service.judge({**pair(), "rgb": b"no image"}, headers={"Idempotency-Key": "k-3"})
    check_problem(refused, 415, "not_an_image")
    assert service.judge(pair(), headers={"Idempotency-Key": "k-3"}).status_code == 200


def test_a_decision_that_could_not_be_kept_uses_up_its_nonce_but_not_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(store: MemoryStore, claim: Claim, answer: bytes) -> None:
        raise StoreUnavailable("it is away.")

    # With a fixed boundary, a retry repeats the body byte for byte.
    headers = {"Idempotency-Key": "k-5", "Content-Type": "multipart/form-data; boundary=between-the-parts"}
    with running(Settings(audit=AuditSettings(path=tmp_path / "audit.jsonl"))) as service:

        def send(**entries: Any) -> httpx.Response:
            return service.judge(pair(**entries), headers=headers)

        with monkeypatch.context() as patch:
            patch.setattr(MemoryStore, "keep_answer", fail)
            for nonce in ({"nonce": "decided-once"}, {}):
                assert check_problem(send(**nonce), 503, "store_unavailable")["retryable"]
        # The decision was made and logged, and may have been kept, so the nonce does not get another one.
        check_problem(send(nonce="decided-once"), 409, "replayed_nonce")
        # The key is free: with a new nonce, and without one, the pair is scored again and the answer is kept.
        assert send(nonce="decided-anew").json()["decision"] == "live"
        assert send(nonce="decided-anew").headers["idempotent-replayed"] == "true"
    logged = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [line["decision"] for line in logged if line["kind"] == "decision"] == ["live"] * 3


def test_an_explanation_is_a_picture_for_each_modality(service: RunningService) -> None:
    body = service.judge(pair(), params={"explain": "true"}).json()
    checked(body)
    assert set(body["explain"]) == {"rgb", "ir"}
    for data in body["explain"].values():
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        assert picture.shape == (112, 112, 3)
    assert "explain" not in service.judge(pair(), params={"explain": "false"}).json()


def test_an_rgb_image_in_the_dark_is_not_usable_and_shown_without_attention(service: RunningService) -> None:
    dark = np.full((480, 640, 3), 4, np.uint8)
    body = service.judge({**pair(), "rgb": encode(dark)}, params={"explain": "true"}).json()
    checked(body)
    assert (body["modalities"]["rgb"]["usable"], body["modalities"]["ir"]["usable"]) == (False, True)
    assert not any(reason.startswith("rgb") for reason in body["reasons"])
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(body["explain"]["rgb"]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert shown is not None
    assert shown.max() <= 4


def test_a_repeated_answer_holds_no_images(service: RunningService) -> None:
    request = service.client.build_request(
        "POST", "/liveness", files=pair(), params={"explain": "true"}, headers={"Idempotency-Key": "k-4"}
    )
    request.read()
    first, again = service.client.send(request), service.client.send(request)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.json()["explain"]
    assert again.json() == {name: value for name, value in first.json().items() if name != "explain"}
    check_problem(service.judge(pair(), params={"explain": "maybe"}), 422, "malformed_request")


def test_hidden_scores_have_no_explanation_either() -> None:
    with running(Settings(expose_score=False)) as hidden:
        check_problem(hidden.judge(pair(), params={"explain": "true"}), 403, "forbidden")


@pytest.mark.parametrize(("clock", "now"), [("unix", time.time_ns), ("monotonic", time.monotonic_ns)])
def test_an_upload_of_a_known_clock_has_an_age(service: RunningService, clock: str, now: Any) -> None:
    def judged(offset_ms: int) -> dict[str, Any]:
        taken = now() + offset_ms * 1_000_000
        found: dict[str, Any] = service.judge(pair(rgb_timestamp_ns=taken, ir_timestamp_ns=taken, clock=clock)).json()
        return found

    fresh = judged(0)
    assert fresh["decision"] == "live"
    assert 0 <= fresh["pair"]["age_ms"] < 10_000
    for offset in (-60_000, 60_000):
        assert judged(offset)["reasons"] == ["pair_stale"], offset
    assert judged(-60_000)["pair"]["age_ms"] > 59_000


def test_a_time_of_the_callers_own_clock_is_never_stale(service: RunningService) -> None:
    body = service.judge(pair(rgb_timestamp_ns=5, ir_timestamp_ns=5)).json()
    assert body["decision"] == "live"
    assert body["pair"]["age_ms"] is None


def depth_file(mm: int = 600) -> bytes:
    """Return a depth file with a bump like a face in front of a distant wall."""
    depth = np.full((480, 640), 1500, np.uint16)
    depth[100:340, 180:420] = mm
    return encode(depth, ".png")


def test_a_model_for_depth_takes_millimetres() -> None:
    with running(Settings(), modalities=("rgb", "depth")) as service:
        files = {"rgb": rgb_file(), "depth": depth_file(), "meta": meta()}
        body = service.judge(files, params={"explain": "true"}).json()
        checked(body)
        assert set(body["modalities"]) == set(body["explain"]) == {"rgb", "depth"}
        assert body["score"] == pytest.approx(body["modalities"]["depth"]["score"])
        assert 0.6 <= body["score"] < 0.9
        check_problem(service.judge({**files, "ir": ir_file()}), 422, "unknown_part")
        check_problem(service.judge({**files, "depth": ir_file()}), 422, "wrong_channels")
        check_problem(service.judge({**files, "depth": encode(textured(90), ".jpg")}), 422, "wrong_channels")
        check_problem(service.judge({"rgb": rgb_file(), "meta": meta()}), 422, "missing_part")
        assert service.client.get("/info").json()["model"]["modalities"] == ["rgb", "depth"]


def test_an_infrared_led_model_takes_its_box_in_infrared() -> None:
    with running(Settings(), modalities=("ir", "depth")) as service:
        body = service.judge({"ir": ir_file(), "depth": depth_file(), "meta": meta()}).json()
    checked(body)
    assert set(body["modalities"]) == {"ir", "depth"}
    assert body["face"]["bbox"] == [200.0, 120.0, 200.0, 200.0]


def test_an_orientation_in_the_file_is_ignored(service: RunningService) -> None:
    """Check that the EXIF orientation is ignored: boxes are in stored pixels, so rotating would move the face."""
    whole = rgb_file()
    # APP1 with a TIFF header and one entry: orientation 6, a quarter turn.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = whole[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + whole[2:]
    plain, same = (service.judge({**pair(), "rgb": data}).json() for data in (whole, turned))
    assert plain["modalities"]["rgb"]["score"] == same["modalities"]["rgb"]["score"]


def test_a_face_that_does_not_follow_the_illuminator_is_not_live() -> None:
    lit = face_pair()
    assert lit.ir is not None
    feed = FakeFeed()
    with running(Settings(), feed=feed) as service:

        def judged(dark: Any) -> dict[str, Any]:
            answers: list[httpx.Response] = []
            asking = threading.Thread(target=lambda: answers.append(camera(service, timeout_ms=15_000)))
            asking.start()
            while asking.is_alive():
                now = time.monotonic_ns()
                fresh = replace(lit, rgb_time_ns=now, ir_time_ns=now, clock="synthetic", lit="lit")
                feed.put(replace(fresh, ir_dark=dark, ir_dark_time_ns=now))
                asking.join(0.1)
            found: dict[str, Any] = answers[0].json()
            return found

        plain, shining = judged(None), judged(lit.ir)
    assert "strobe_lost" not in plain["reasons"]
    # As bright with the illuminator off as with it on.
    assert "strobe_lost" in shining["reasons"]
    assert shining["decision"] != "live"


def test_who_waits_for_cameras_does_not_hold_up_a_stop() -> None:
    feed = FakeFeed()
    with running(Settings(), feed=feed) as service:
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(camera(service, timeout_ms=30_000)))
        asking.start()
        until(lambda: feed.waits >= 2)
        for stop in components_of(service.app).stopping:
            stop()
        asking.join(10)
        assert not asking.is_alive()
    check_problem(answers[0], 503, "not_ready")
