"""The console: the HTTP requests of its page, and the data that subscribers to the rig get."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.capture.simulated.rig import SPECIES
from runtime.core.values import Pair
from runtime.imaging.decode import decode
from service.config.settings import Settings
from service.console.assets import source_hash
from service.console.page import encode_for_display
from tests.support.fakes import FakeFeed, face_pair
from tests.support.service.running_service import RunningService, running

KEY = "a-long-enough-key-for-tests"


@pytest.fixture
def rig() -> Iterator[tuple[RunningService, FakeFeed]]:
    feed = FakeFeed()
    feed.camera("rgb", "running", fps=30.0)
    feed.camera("ir", "lost", last_error="unplugged", drops={"overrun": 3})
    with running(Settings(), feed=feed) as found:
        yield found, feed


def fresh_pair() -> Pair:
    """Return a pair captured now, bright enough in IR that the fake engine scores it as live."""
    now = time.monotonic_ns()
    pair = face_pair()
    ir = np.clip(pair.image("ir").astype(int) + 90, 0, 255).astype(np.uint8)
    return replace(pair, ir=ir, rgb_time_ns=now, ir_time_ns=now)


def events_of(service: RunningService, wanted: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield events until each of ``wanted`` has arrived."""
    with service.client.stream("GET", "/events") as response:
        name = ""
        for line in response.iter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                wanted = wanted - {name}
                yield name, json.loads(line[6:])
                if not wanted:
                    return


def test_the_page_names_everything_it_runs(service: RunningService) -> None:
    response = service.client.get("/console")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    for kind in ("style", "script"):
        (text,) = re.findall(rf"<{kind}>(.*?)</{kind}>", response.text, re.DOTALL)
        assert source_hash(text) in policy
    assert "http://" not in response.text
    assert "https://" not in response.text
    facts = json.loads(re.findall(r'id="facts">(.*?)</script>', response.text, re.DOTALL)[0])
    assert facts["rig"] is False
    assert facts["reasons"]["ir_unlit"]["meaning"]
    assert "$" not in re.sub(r"<script>.*?</script>|<style>.*?</style>", "", response.text, flags=re.DOTALL)


@pytest.mark.parametrize("species", ["bona_fide", "replay_screen"])
def test_a_sample_is_a_pair_that_can_be_judged(service: RunningService, species: str) -> None:
    found = service.client.get("/console/sample", params={"species": species, "subject": 3}).json()
    files = {name: base64.b64decode(image["data"]) for name, image in found["images"].items()}
    assert found["species"] == species
    assert decode(files["rgb"], "rgb", max_pixels=10**6).shape == (480, 640, 3)
    assert decode(files["ir"], "ir", max_pixels=10**6).shape == (480, 640, 1)
    again = service.client.get("/console/sample", params={"species": species, "subject": 3}).json()
    assert again == found


def test_only_known_samples(service: RunningService) -> None:
    assert len(SPECIES) > 5
    for wrong in ({"species": "unicorn"}, {"subject": -1}, {"subject": 1000}):
        assert service.client.get("/console/sample", params=wrong).status_code == 422


def test_without_a_rig_there_are_no_frames(service: RunningService) -> None:
    found = service.client.get("/console/frame/rgb")
    assert (found.status_code, found.json()["code"]) == (503, "no_rig")


def test_a_watched_rig_is_judged_and_its_cameras_are_told(rig: tuple[RunningService, FakeFeed]) -> None:
    service, feed = rig
    assert service.client.get("/console/frame/rgb").status_code == 504
    feed.put(fresh_pair())
    found = dict(events_of(service, {"pair", "cameras"}))
    pair, cameras = found["pair"], found["cameras"]
    assert pair["decision"] in ("live", "spoof", "uncertain")
    assert 0 <= pair["score"] <= 1
    assert pair["detail"] == ""
    assert set(pair["boxes"]) == {"rgb", "ir"}
    assert all(0 <= value <= 1 for box in pair["boxes"].values() for value in box)
    by_name = {camera["modality"]: camera for camera in cameras["cameras"]}
    assert (by_name["ir"]["state"], by_name["ir"]["last_error"]) == ("lost", "unplugged")
    assert by_name["ir"]["drops"] == {"overrun": 3}


def test_nobody_there_is_no_decision(rig: tuple[RunningService, FakeFeed]) -> None:
    service, feed = rig
    grey = np.full((480, 640, 3), 128, np.uint8)
    feed.put(Pair(rgb=grey, ir=grey[:, :, :1].copy(), source="camera"))
    found = dict(events_of(service, {"pair"}))
    assert found["pair"]["decision"] == "none"
    assert found["pair"]["reasons"] == ["no_face"]
    assert found["pair"]["detail"] == "no face was found in the RGB image or the infrared image."
    assert found["pair"]["score"] is None


def test_an_image_without_a_face_that_is_too_dark_is_named(rig: tuple[RunningService, FakeFeed]) -> None:
    service, feed = rig
    black = np.zeros((480, 640, 3), np.uint8)
    feed.put(Pair(rgb=black, ir=black[:, :, :1].copy(), source="camera"))
    pair = dict(events_of(service, {"pair"}))["pair"]
    assert pair["detail"] == "no face was found in the RGB image (too dark) or the infrared image."


def test_an_engine_that_fails_is_uncertain_and_the_next_pair_is_tried(rig: tuple[RunningService, FakeFeed]) -> None:
    service, feed = rig
    service.engine.nan = True
    feed.put(fresh_pair())
    # Read both pairs from one stream, because the second one could be lost when a first stream ends.
    pairs = (data for name, data in events_of(service, {"no such event"}) if name == "pair")
    found = next(pairs)
    assert (found["decision"], found["reasons"]) == ("uncertain", ["inference_failed"])
    service.engine.nan = False
    feed.put(fresh_pair())
    assert next(pairs)["score"] is not None
    pairs.close()


def test_what_does_not_follow_the_illuminator_is_never_shown_as_live(rig: tuple[RunningService, FakeFeed]) -> None:
    service, feed = rig
    pair = fresh_pair()
    # The image is as bright with the illuminator off as with it on, like a screen that emits light or an injected
    # image.
    shining = replace(pair, ir_dark=pair.ir, ir_dark_time_ns=pair.ir_time_ns)
    feed.put(shining)
    found = dict(events_of(service, {"pair"}))["pair"]
    assert found["strobe"] == "mismatch"
    assert "strobe_lost" in found["reasons"]
    assert found["decision"] in ("uncertain", "spoof")


def test_a_frame_is_the_newest_pair_s(rig: tuple[RunningService, FakeFeed]) -> None:
    service, feed = rig
    pair = fresh_pair()
    feed.put(pair, number=7)
    response = service.client.get("/console/frame/ir")
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["x-pair-number"] == "7"
    assert response.headers["cache-control"] == "no-store"
    picture = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert float(np.abs(picture.astype(int) - pair.image("ir")[:, :, 0]).mean()) < 6
    assert service.client.get("/console/frame/depth").status_code == 422
    assert service.client.get("/console/frame/x").status_code == 422


def test_pictures_are_brought_to_a_size_a_person_looks_at() -> None:
    depth = np.full((720, 1280, 1), 500, np.float32)
    picture = cv2.imdecode(np.frombuffer(encode_for_display(depth), np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    assert picture.shape == (360, 640)


def test_hidden_scores_are_hidden_from_watchers_too() -> None:
    feed = FakeFeed()
    feed.put(fresh_pair())
    with running(Settings(expose_score=False), feed=feed) as service:
        pair = dict(events_of(service, {"pair"}))["pair"]
        assert (pair["score"], pair["threshold"]) == (None, None)
        assert '"band_low": null' in service.client.get("/console").text


def test_a_key_is_needed_where_keys_are_configured() -> None:
    feed = FakeFeed()
    feed.put(fresh_pair())
    with running(Settings.model_validate({"api_key": KEY}), feed=feed) as service:
        for path in ("/events", "/console/frame/rgb", "/console/sample"):
            assert service.client.get(path).status_code == 401
        headers = {"X-API-Key": KEY}
        assert service.client.get("/console/frame/rgb", headers=headers).status_code == 200
