"""Videos and image folders played like cameras."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from calib.capture import read_cameras
from runtime.capture import file
from runtime.capture.open import open_source
from runtime.capture.source import Source
from runtime.capture.uri import parse_uri
from runtime.config.rig import RigSettings
from runtime.core.errors import (
    CameraData,
    CameraLost,
    CameraMissing,
    CameraUnsupported,
    CaptureError,
    ConfigError,
    RecordingInvalid,
    StreamEnded,
)
from runtime.core.units import MS
from runtime.core.values import Frame, Modality
from runtime.pairing.rig import Rig


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "LEAD_NS", 10 * MS)
    monkeypatch.setattr(file, "SHARED_START_NS", 0)


def video(path: Path, count: int = 5, fps: float = 50.0) -> Path:
    """Write a video whose frames are of one colour, each redder than the one before."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    assert writer.isOpened()
    for number in range(count):
        writer.write(np.full((48, 64, 3), (20, 20, 50 + 40 * number), np.uint8))
    writer.release()
    return path


def pictures(folder: Path, count: int = 3, dtype: str = "uint8") -> Path:
    folder.mkdir()
    for number in range(count):
        assert cv2.imwrite(str(folder / f"{number:04d}.png"), np.full((48, 64), 50 + number, dtype))
    return folder


def frames(source: Source, count: int) -> list[Frame]:
    found: list[Frame] = []
    for _ in range(200):
        frame = source.read(2)
        if frame is not None:
            found.append(frame)
        if len(found) == count:
            return found
    raise AssertionError("no frame came")


def test_a_video_needs_ffmpeg_and_pictures_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, folder = video(tmp_path / "clip.avi"), pictures(tmp_path / "pictures")
    monkeypatch.setattr("cv2.videoio_registry.hasBackend", lambda backend: backend != cv2.CAP_FFMPEG)
    with pytest.raises(CameraUnsupported, match="has no FFmpeg"):
        open_source(f"file:{clip}", "rgb", 0)
    source = open_source(f"file:{folder}", "ir", 0)
    assert frames(source, 1)[0].image[0, 0] == 50
    source.close()


def test_a_video_is_played_by_its_own_times_and_ends(tmp_path: Path) -> None:
    source = open_source(f"file:{video(tmp_path / 'clip.mkv')}", "rgb", 3)
    read = frames(source, 5)
    assert [f.seq for f in read] == [0, 1, 2, 3, 4]
    assert [round((f.t_capture_ns - read[0].t_capture_ns) / MS) for f in read] == [0, 20, 40, 60, 80]
    assert all(f.t_arrival_ns >= f.t_capture_ns for f in read)
    assert {(f.timestamp_source, f.generation, f.image.shape) for f in read} == {("media", 3, (48, 64, 3))}
    np.testing.assert_allclose([f.image[20, 20, 0] for f in read], [50, 90, 130, 170, 210], atol=6)
    with pytest.raises(StreamEnded, match="5 frames"):
        source.read(1)
    info = source.info
    assert (info.width, info.height, info.fps, info.pixel_format, info.timestamp_source) == (
        64,
        48,
        50,
        "MJPG",
        "media",
    )


def test_in_a_loop_times_and_numbers_go_on(tmp_path: Path) -> None:
    source = open_source(f"file:{video(tmp_path / 'clip.mkv', 3)}?loop=1", "ir", 0)
    read = frames(source, 7)
    assert [f.seq for f in read] == list(range(7))
    assert [round((f.t_capture_ns - read[0].t_capture_ns) / MS) for f in read] == [0, 20, 40, 60, 80, 100, 120]
    assert read[0].image.shape == (48, 64, 1)
    assert np.array_equal(read[0].image, read[3].image)
    assert not np.array_equal(read[0].image, read[1].image)


def test_two_clips_opened_together_begin_at_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "SHARED_START_NS", 60_000 * MS)
    monkeypatch.setattr(file, "SHARED_START", file.SharedStart())
    colour = open_source(f"file:{video(tmp_path / 'a.mkv')}", "rgb", 0)
    infrared = open_source(f"file:{pictures(tmp_path / 'ir')}?fps=50", "ir", 0)
    assert frames(colour, 1)[0].t_capture_ns == frames(infrared, 1)[0].t_capture_ns


def test_a_rate_can_be_given(tmp_path: Path) -> None:
    read = frames(open_source(f"file:{video(tmp_path / 'clip.mkv')}?fps=100", "rgb", 0), 3)
    assert [round((f.t_capture_ns - read[0].t_capture_ns) / MS) for f in read] == [0, 10, 20]


@pytest.mark.parametrize(
    ("dtype", "options", "modality", "values"),
    [
        ("uint8", "", "ir", [50, 51, 52]),
        ("uint16", "&bits=8", "ir", [50, 51, 52]),
        ("uint16", "", "depth", [50.0, 51.0, 52.0]),
        ("uint16", "&unit_mm=0.5", "depth", [25.0, 25.5, 26.0]),
    ],
)
def test_pictures_in_a_folder(
    dtype: str, options: str, modality: Modality, values: list[float], tmp_path: Path
) -> None:
    folder = pictures(tmp_path / "frames", dtype=dtype)
    for address in (folder, folder / "0*.png"):
        read = frames(open_source(f"file:{address}?fps=100{options}", modality, 0), 3)
        assert [f.image[0, 0, 0] for f in read] == values


def test_close_ends_a_read_that_waits(tmp_path: Path) -> None:
    source = open_source(f"file:{pictures(tmp_path / 'frames')}?fps=0.1", "ir", 0)
    frames(source, 1)
    result: list[object] = []
    reader = threading.Thread(target=lambda: result.append(source.read(60)))
    reader.start()
    source.close()
    source.close()
    reader.join(20)
    assert result in ([None], []), "if closed before the read began, the read raises"
    with pytest.raises(CameraLost, match="closed"):
        source.read(1)


def test_nothing_comes_before_its_time(tmp_path: Path) -> None:
    source = open_source(f"file:{pictures(tmp_path / 'frames')}?fps=0.1", "ir", 0)
    frames(source, 1)
    assert source.read(0.01) is None


def test_a_picture_that_is_damaged_or_of_another_size_is_an_error_and_the_next_one_comes(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "frames", 4)
    (folder / "0001.png").write_bytes(b"not a picture")
    cv2.imwrite(str(folder / "0002.png"), np.zeros((20, 20), np.uint8))
    source = open_source(f"file:{folder}?fps=100", "ir", 0)
    frames(source, 1)
    for told in (r"frame 1: .*0001\.png: the file is not a JPEG", "frame 2 is 20×20 pixels, the first one 64×48"):
        with pytest.raises(CameraData, match=told):
            frames(source, 1)
    assert frames(source, 1)[0].seq == 3


def case(tmp_path: Path, name: str) -> str:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mkv").write_text("no video")
    video(tmp_path / "clip.mkv")
    return f"file:{tmp_path}/{name}"


@pytest.mark.parametrize(
    ("name", "modality", "error", "told"),
    [
        ("absent.mkv", "rgb", CameraMissing, "no such file"),
        ("empty", "rgb", CameraMissing, "no image"),
        ("text.mkv", "rgb", RecordingInvalid, "finds no video"),
        ("clip.mkv", "depth", CameraUnsupported, "too few for depth"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_played(
    name: str, modality: Modality, error: type[CaptureError], told: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=told):
        open_source(case(tmp_path, name), modality, 0)


@pytest.mark.parametrize("options", ["speed=2", "loop=yes", "fps=0", "bits=40"])
def test_options_that_are_wrong(options: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        open_source(f"{case(tmp_path, 'clip.mkv')}?{options}", "rgb", 0)


def test_grey_pictures_are_no_colour(tmp_path: Path) -> None:
    with pytest.raises(CameraData, match=r"1 channel\(s\) of uint8 cannot be used as rgb"):
        open_source(f"file:{pictures(tmp_path / 'frames')}", "rgb", 0)


def numbered(folder: Path, names: list[str]) -> Path:
    """Write images whose grey level is their position in ``names``."""
    folder.mkdir(parents=True)
    for level, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full((48, 64), 50 + level, np.uint8))
    return folder


def test_pictures_play_in_the_order_that_people_count_in(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "ir", [f"{number}.png" for number in range(1, 13)])
    (folder / "._3.png").write_bytes(b"macOS left this here")
    (folder / "Thumbs.db").write_bytes(b"and Windows this")
    for address in (folder, folder / "*.png"):
        read = frames(open_source(f"file:{address}?fps=200", "ir", 0), 12)
        assert [f.image[0, 0, 0] for f in read] == list(range(50, 62))


def addresses(rgb: Path | str, ir: Path | str) -> dict[Modality, str]:
    return {"rgb": f"file:{rgb}?fps=30", "ir": f"file:{ir}"}


def test_two_folders_of_one_rig_agree_in_their_numbers(tmp_path: Path) -> None:
    names = [f"{number}-rgb.png" for number in (1, 2, 9, 10)]
    rgb = numbered(tmp_path / "rgb", names)
    same = numbered(tmp_path / "same", [f"{number:04d}-ir.png" for number in (1, 2, 9, 10)])
    other = numbered(tmp_path / "other", [f"{number}-ir.png" for number in (1, 3, 9, 10)])
    fewer = numbered(tmp_path / "fewer", [f"{number}-ir.png" for number in (1, 2, 9)])
    (same / "._0001-ir.png").write_bytes(b"")
    file.require_same_numbers(addresses(rgb, same))
    file.require_same_numbers(addresses(rgb, tmp_path / "absent"))
    file.require_same_numbers({"rgb": f"file:{rgb}", "ir": "synthetic:"})
    with pytest.raises(ConfigError, match="image 2 has the number 2 in the rgb folder and 3 in the ir folder"):
        file.require_same_numbers(addresses(rgb, other))
    with pytest.raises(ConfigError, match="rgb folder has 4 images, the ir folder 3"):
        file.require_same_numbers(addresses(rgb, fewer))
    with pytest.raises(ConfigError, match="number 2 in the rgb folder"):
        Rig(RigSettings.model_validate(addresses(rgb, other)))
    with pytest.raises(ConfigError, match="number 2 in the rgb folder"), read_cameras(addresses(rgb, other), print):
        raise AssertionError("they were opened")


@pytest.mark.parametrize(
    ("name", "told"),
    [("strip.png", "no camera delivers"), ("gif.png", "not a JPEG"), ("several.tiff", "several images")],
)
def test_pictures_that_no_camera_gives_are_no_first_frame(name: str, told: str, tmp_path: Path) -> None:
    strip = np.full((20_000, 4), 90, np.uint8)
    frames = [np.full((48, 64, 3), level, np.uint8) for level in (90, 200)]
    data: dict[str, bytes] = {
        "strip.png": cv2.imencode(".png", strip)[1].tobytes(),
        "gif.png": cv2.imencodemulti(".gif", frames)[1].tobytes(),
        "several.tiff": cv2.imencodemulti(".tiff", frames)[1].tobytes(),
    }
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / name).write_bytes(data[name])
    with pytest.raises(RecordingInvalid, match=told):
        open_source(f"file:{folder}", "ir", 0)


def test_a_name_with_percent_signs_is_that_file_where_there_is_one(tmp_path: Path) -> None:
    written = video(tmp_path / "c%20d.mkv")
    assert parse_uri(f"file:{written}").file == written
    assert parse_uri(f"file:{tmp_path}/e%20f.mkv").file == tmp_path / "e f.mkv"
    frames(open_source(f"file:{written}", "rgb", 0), 2)
