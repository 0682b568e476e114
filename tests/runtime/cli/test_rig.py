"""``adsn-rig`` on simulated cameras: its output, exit codes and page."""

from __future__ import annotations

import http.client
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from runtime.capture.status import CameraStatus
from runtime.capture.v4l2.devices import VideoDevice
from runtime.cli.options import rig_settings
from runtime.cli.rig import find as rig_find
from runtime.cli.rig.main import app
from runtime.cli.rig.page import RigPage
from runtime.cli.rig.view import status_line, status_table
from runtime.core.errors import AdsnError, CameraMissing, ConfigError
from runtime.core.values import MODALITIES, Frame, Modality
from runtime.pairing.feed import FeedStatus
from tests.support.fakes import FakeFeed

_runs = itertools.count()


def scene(options: str = "") -> str:
    return f"synthetic:?size=160x160&moments=2&fps=60&run=cli{next(_runs)}&{options}"


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def two(options: str = "") -> tuple[str, ...]:
    base = scene()
    return "--rgb", base, "--ir", f"{base}&{options}"


# -- finding -----------------------------------------------------------------------------------------------------------


def test_list_names_every_kind_and_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = (
        VideoDevice("/dev/video2", card="IR Camera", bus="usb-1", modality="ir", metadata="/dev/video3"),
        VideoDevice("/dev/video4", problem="no permission.", problem_code="camera_denied"),
    )
    monkeypatch.setattr(rig_find, "list_devices", lambda: devices)
    said = call("list").stdout
    assert "v4l2:/dev/video2" in said
    assert "IR Camera, usb-1, ir, metadata at /dev/video3" in said
    assert "no permission." in said
    assert "synthetic:?species" in said
    found = json.loads(call("list", "--json").stdout)
    assert [camera["uri"] for camera in found["cameras"]] == ["v4l2:/dev/video2", "v4l2:/dev/video4"]
    assert found["schemes"]["synthetic"] is True
    monkeypatch.setattr(rig_find, "list_devices", lambda: ())
    assert "No kernel camera" in call("list").stdout
    monkeypatch.setattr(rig_find, "list_devices", lambda: devices)
    assert rig_find.modality_of("v4l2:/dev/video2", None) == "ir"
    assert rig_find.modality_of("v4l2:/dev/video4", None) == "rgb"


def test_probe_says_what_a_camera_delivers() -> None:
    done = call("probe", scene("strobe=1:1"), "--as", "ir", "--seconds", "0.6", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["picture"] == "160×160 GREY"
    assert report["measured_fps"] == pytest.approx(60, rel=0.2)
    assert report["illumination"].startswith("1:1")
    assert report["timestamps"] == "synthetic"


@pytest.mark.parametrize(
    ("options", "says"),
    [("drop=0.5", "frames are missing"), ("script=cover@0s", "flat"), ("script=unplug@0.4s", "unplugged")],
)
def test_probe_says_what_is_wrong(options: str, says: str) -> None:
    done = call("probe", scene(options), "--seconds", "0.8")
    assert says in done.output


def test_probe_fails_when_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig_find, "FIRST_S", 0.3)
    done = call("probe", scene("script=stall@0s"))
    assert done.exit_code == 1
    assert "no frame arrived" in done.stdout


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("probe", "http://camera"), ConfigError),
        (("probe", "synthetic:", "--as", "x-ray"), ConfigError),
        (("probe", "file:/nonexistent/clip.mkv"), AdsnError),
        (("view",), ConfigError),
        (("view", "--rgb", "synthetic:"), ConfigError),
        (("view", "--synthetic", "--strobe", "sometimes"), ConfigError),
        (("record", "/nonexistent/r", "--synthetic"), ConfigError),
        (("replay", "/nonexistent.mcap"), CameraMissing),
    ],
)
def test_wrong_use_is_an_error_of_ours(words: tuple[str, ...], error: type[AdsnError]) -> None:
    assert isinstance(call(*words).exception, error)


# -- rig options -------------------------------------------------------------------------------------------------------


def test_a_rig_is_named_by_file_environment_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kiosk.toml"
    path.write_text('door = "elsewhere"\n[rig]\nrgb = "synthetic:"\nir = "synthetic:?seed=3"\nmax_skew_ms = 7\n')
    assert rig_settings(path).ir == "synthetic:?seed=3"
    monkeypatch.setenv("ADSN_RIG__MAX_SKEW_MS", "8")
    monkeypatch.setenv("ADSN_PORT", "9000")
    assert rig_settings(path).max_skew_ms == 8
    assert rig_settings(path, max_skew_ms=9).max_skew_ms == 9
    path.write_text("[rig]\nstrob = 1\n")
    with pytest.raises(ConfigError, match=r"kiosk\.toml:2.*strobe"):
        rig_settings(path)
    both = rig_settings(synthetic=True, max_skew_ms=3)
    assert (both.rgb, both.ir, both.depth) == ("synthetic:", "synthetic:", None)
    assert rig_settings(synthetic=True, depth="synthetic:").ir is None


# -- watching ----------------------------------------------------------------------------------------------------------


def test_view_shows_states_and_pairs() -> None:
    done = call("view", *two(), "--seconds", "1.5")
    assert done.exit_code == 0, done.output
    assert "rgb running" in done.stdout
    assert "strobe steady" in done.stdout


def test_a_process_ends_in_order_while_pictures_are_still_rendered() -> None:
    program = "import sys; sys.argv = ['adsn-rig', 'view', '--synthetic', '--seconds', '0.2']\n"
    program += "from runtime.cli.rig.main import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


STATUS = FeedStatus(
    cameras=(
        CameraStatus("rgb", "running", None, 1, 29.9, 300, {"overrun": 2}, 1, 5),
        CameraStatus("ir", "lost", None, 0, 0.0, 0, {}, 0, None, "unplugged.", "camera_lost"),
    ),
    pairs=12,
    pairs_per_s=14.9,
    last_pair_ns=5,
    skew_ms=-3.25,
    rejected={"skew": 4},
    strobe="1:1",
    advice="the infrared camera is lost.",
    recording="/r/x.mcap",
)


def test_a_status_in_a_line_and_on_a_terminal() -> None:
    from rich.console import Console

    console = Console(width=160, record=True)
    console.print(status_table(STATUS, "uncertain no_face"))
    shown = console.export_text()
    for text in (shown, status_line(STATUS, "uncertain no_face")):
        for part in (
            "lost",
            "29.9",
            "-3.25",
            "1:1",
            "REC /r/x.mcap",
            "the infrared camera is lost.",
            "uncertain no_face",
        ):
            assert part in text
    assert "overrun 2" in shown
    assert "skew 4" in shown
    assert "skew" not in status_line(replace(STATUS, skew_ms=None))


# -- recording ---------------------------------------------------------------------------------------------------------


def test_record_and_replay(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    done = call("record", folder, *two(), "--seconds", "1.5", "--i-have-consent", "nobody is in it")
    assert done.exit_code == 0, done.output
    assert "REC " in done.stdout
    (path,) = folder.iterdir()
    done = call("replay", path)
    assert done.exit_code == 0, done.output
    assert "consent: nobody is in it" in done.stdout
    whole = path.read_bytes()
    # If a chunk is lost, the recorded pairs cannot be formed again, and the command says so.
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    path.write_bytes(damaged)
    done = call("replay", path)
    assert done.exit_code == 1
    assert "1 parts are damaged" in done.stdout


# -- the page ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def page() -> Iterator[RigPage]:
    served = RigPage()
    feed = FakeFeed()
    feed.set(advice="look here")
    served.start(feed)
    yield served
    served.close()


def get(page: RigPage, path: str, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    url = urlsplit(page.url)
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=20)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def shot(modality: Modality) -> Frame:
    shape = (24, 32, 3 if modality == "rgb" else 1)
    image = np.full(shape, 120, np.uint8) if modality != "depth" else np.full(shape, 400, np.float32)
    return Frame(modality, image, 1, 2, 0, "synthetic")


def test_the_page_shows_pictures_to_whoever_has_its_address(page: RigPage) -> None:
    base = urlsplit(page.url).path
    for modality in MODALITIES:
        page.on_frame(shot(modality))
        status, body, headers = get(page, f"{base}{modality}.jpg?4")
        assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "image/jpeg", "no-store")
        picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        assert picture.shape[:2] == (24, 32)
    status, body, headers = get(page, base)
    assert status == 200
    assert b'["rgb", "ir", "depth"]' in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    status, body, _ = get(page, f"{base}status.json")
    assert "look here" in json.loads(body)


def test_the_page_is_nobody_elses(page: RigPage) -> None:
    base = urlsplit(page.url).path
    page.on_frame(shot("rgb"))
    for path in ("/", "/rgb.jpg", "/wrong/rgb.jpg", f"{base}../rgb.jpg", f"{base}depth.jpg", f"{base}etc"):
        assert get(page, path)[0] == 404
    assert get(page, f"{base}rgb.jpg", Host="evil.example")[0] == 404
    assert urlsplit(page.url).hostname == "127.0.0.1"
    other = RigPage()
    assert urlsplit(other.url).path != base
    other.close()


def test_closing_the_page_ends_it() -> None:
    page = RigPage()
    page.start(FakeFeed())
    page.close()
    with pytest.raises(OSError, match="refused"):
        get(page, "/")
    time.sleep(0)
    assert not any(thread.name == "rig-page" for thread in threading.enumerate())
