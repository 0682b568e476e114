"""RealSense sources on the library's own simulated device, with its frames, syncer and alignment, but no camera.

Not covered are the start of a real pipeline and the metadata of real cameras.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runtime.capture.realsense import source as realsense
from runtime.capture.realsense.device import PipelineDriver, StreamRequest, refused
from runtime.capture.realsense.source import RealSenseSource, open_realsense
from runtime.capture.uri import parse_uri
from runtime.core.errors import CameraBusy, CameraData, CameraLost, CameraMissing, CaptureError, ConfigError
from runtime.core.values import Frame, Modality

try:
    import pyrealsense2 as rs
except ImportError as error:
    pytest.skip(f"pyrealsense2 cannot be imported: {error}", allow_module_level=True)

WIDTH, HEIGHT, FOCAL = 64, 48, 60.0


class SimulatedDevice:
    """A `DeviceDriver` whose frames are pushed by the test, through the library's software device and syncer."""

    serial, unit_mm = "SIM", 0.5

    def __init__(self) -> None:
        self.starts: list[set[str]] = []
        self.stops = 0
        self.error: Exception | None = None
        self._device = rs.software_device()
        stereo, colour = self._device.add_sensor("Stereo"), self._device.add_sensor("RGB")
        self._sensors = {"depth": stereo, "ir": stereo, "rgb": colour}
        self._bytes = {"depth": 2, "ir": 1, "rgb": 3}
        self._profiles = {
            "depth": stereo.add_video_stream(self._stream(rs.stream.depth, 0, 1, rs.format.z16)),
            "ir": stereo.add_video_stream(self._stream(rs.stream.infrared, 1, 2, rs.format.y8)),
            "rgb": colour.add_video_stream(self._stream(rs.stream.color, 0, 3, rs.format.rgb8)),
        }
        stereo.add_read_only_option(rs.option.depth_units, 0.0005)
        apart = rs.extrinsics()
        apart.rotation, apart.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0.1, 0, 0]
        self._profiles["depth"].register_extrinsics_to(self._profiles["rgb"], apart)
        self._device.create_matcher(rs.matchers.default)
        self._syncer: Any = None

    @staticmethod
    def _stream(kind: Any, index: int, uid: int, format: Any) -> Any:
        lens = rs.intrinsics()
        lens.width, lens.height, lens.ppx, lens.ppy = WIDTH, HEIGHT, WIDTH / 2, HEIGHT / 2
        lens.fx = lens.fy = FOCAL
        lens.model, lens.coeffs = rs.distortion.none, [0] * 5
        stream = rs.video_stream()
        stream.type, stream.index, stream.uid, stream.fmt = kind, index, uid, format
        stream.width, stream.height, stream.fps, stream.intrinsics = WIDTH, HEIGHT, 30, lens
        return stream

    def start(self, streams: Mapping[Modality, StreamRequest]) -> None:
        if self.error is not None:
            raise self.error
        self.starts.append(set(streams))
        self._syncer = rs.syncer(100)
        stereo = [p for n, p in self._profiles.items() if n in streams and n != "rgb"]
        for sensor, profiles in ((self._sensors["ir"], stereo), (self._sensors["rgb"], [self._profiles["rgb"]])):
            if profiles and (sensor is not self._sensors["rgb"] or "rgb" in streams):
                sensor.open(profiles)
                sensor.start(self._syncer)

    def poll(self) -> Any | None:
        if self.error is not None:
            raise self.error
        came, frames = self._syncer.try_wait_for_frames(20)
        return frames if came else None

    def stop(self) -> None:
        self.stops += 1
        for sensor in {id(s): s for s in self._sensors.values()}.values():
            if sensor.get_active_streams():
                sensor.stop()
                sensor.close()

    def push(
        self,
        name: str,
        number: int,
        timestamp_ms: float,
        pixels: Any,
        metadata: Mapping[Any, int] | None = None,
        domain: Any = rs.timestamp_domain.hardware_clock,
    ) -> None:
        frame = rs.software_video_frame()
        frame.bpp = self._bytes[name]
        frame.stride = WIDTH * frame.bpp
        frame.timestamp, frame.domain, frame.frame_number = timestamp_ms, domain, number
        frame.pixels, frame.profile = pixels, self._profiles[name].as_video_stream_profile()
        sensor = self._sensors[name]
        # The test pushes frames faster than real time. The syncer matches them only if there is no actual rate.
        sensor.set_metadata(rs.frame_metadata_value.actual_fps, 0)
        for key, value in (metadata or {}).items():
            sensor.set_metadata(key, value)
        sensor.on_video_frame(frame)


@pytest.fixture
def device() -> Iterator[SimulatedDevice]:
    simulated = SimulatedDevice()
    realsense.HUBS.clear()
    yield simulated
    assert not realsense.HUBS, "a closed device is forgotten"


def opened(device: SimulatedDevice, modality: Modality, options: str = "") -> RealSenseSource:
    uri = parse_uri(f"realsense:SIM?size={WIDTH}x{HEIGHT}{options}")
    return open_realsense(uri, modality, 5, driver=device)


GREY, COLOUR = np.full((HEIGHT, WIDTH), 77, np.uint8), np.full((HEIGHT, WIDTH, 3), (200, 20, 10), np.uint8)
DEPTH = np.full((HEIGHT, WIDTH), 1000, np.uint16)


def read_all(source: RealSenseSource, least: int = 1) -> list[Frame]:
    found: list[Frame] = []
    while (frame := source.read(20 if len(found) < least else 0.3)) is not None:
        found.append(frame)
    return found


def test_streams_of_one_device_share_it_and_give_pictures(device: SimulatedDevice) -> None:
    infrared, colour = opened(device, "ir"), opened(device, "rgb")
    assert device.starts == [{"ir"}, {"ir", "rgb"}], "a stream that is added later restarts the device"
    for number in range(4):
        device.push("ir", number, 1000 + 33.3 * number, GREY)
        device.push("rgb", number, 1000 + 33.3 * number, COLOUR)
        time.sleep(0.0334)
    assert infrared.info.identity == "realsense-SIM-ir1"
    grey, coloured = read_all(infrared, 3), read_all(colour, 3)
    assert len({f.seq for f in grey}) == len(grey) >= 3, "frames that the library repeats are read once"
    assert len({f.seq for f in coloured}) == len(coloured) >= 3
    assert {(f.image.shape, int(f.image[3, 3, 0]), f.generation) for f in grey} == {((HEIGHT, WIDTH, 1), 77, 5)}
    assert coloured[0].image[3, 3].tolist() == [200, 20, 10]
    assert {f.timestamp_source for f in grey + coloured} == {"device_mapped"}
    assert {f.lit for f in grey} == {"unknown"}
    assert all(0 <= f.t_arrival_ns - f.t_capture_ns < 20e9 for f in grey)
    infrared.close()
    assert realsense.HUBS, "the other stream continues"
    # The device keeps sending both streams, as a real one does until it is restarted.
    for number in (9, 10):
        device.push("ir", number, 900 + 33.3 * number, GREY)
        device.push("rgb", number, 900 + 33.3 * number, COLOUR)
        time.sleep(0.0334)
    assert 9 in [f.seq for f in read_all(colour)]
    colour.close()
    colour.close()
    assert device.stops == 2
    with pytest.raises(CameraLost, match="closed"):
        colour.read(0.1)


def test_exposure_emitter_and_the_middle_of_the_exposure_come_from_metadata(device: SimulatedDevice) -> None:
    value = rs.frame_metadata_value
    source = opened(device, "ir")
    wall_ms = time.time() * 1000
    for number, emitter in enumerate((1, 0)):
        about = {value.frame_emitter_mode: emitter, value.actual_exposure: 8000}
        about |= {value.frame_timestamp: 50_000, value.sensor_timestamp: 46_000}
        device.push("ir", number, wall_ms + number, GREY, about, rs.timestamp_domain.global_time)
    read = read_all(source, 2)
    source.close()
    assert [(f.lit, f.exposure_ns) for f in read] == [("lit", 8_000_000), ("dark", 8_000_000)]
    assert {f.timestamp_source for f in read} == {"device_mapped"}
    wall_ns = time.time_ns() - time.monotonic_ns()
    np.testing.assert_allclose(read[0].t_capture_ns, (wall_ms - 4) * 1e6 - wall_ns, atol=5e6)


@pytest.mark.parametrize(
    ("domain", "timestamp"), [(rs.timestamp_domain.system_time, 0.0), (rs.timestamp_domain.global_time, 5.0)]
)
def test_times_that_are_no_use_give_way_to_the_arrival(domain: Any, timestamp: float, device: SimulatedDevice) -> None:
    source = opened(device, "ir")
    device.push("ir", 1, timestamp, GREY, domain=domain)
    (frame,) = read_all(source)
    source.close()
    assert (frame.timestamp_source, frame.t_capture_ns) == ("arrival", frame.t_arrival_ns)


def test_depth_is_millimetres_and_aligned_where_asked_for(device: SimulatedDevice) -> None:
    depth, colour = opened(device, "depth", "&align=1"), opened(device, "rgb")
    patch = np.zeros((HEIGHT, WIDTH), np.uint16)
    patch[20:28, 20:28] = 1000
    for number in range(4):
        device.push("depth", number, 1000 + 33.3 * number, patch)
        device.push("rgb", number, 1000 + 33.3 * number, COLOUR)
    read: list[Frame] = []
    faults: list[str] = []
    for _ in range(20):
        try:
            frame = depth.read(0.3 if read else 20)
        except CameraData as error:
            faults.append(error.message)
            continue
        if frame is None:
            break
        read.append(frame)
    depth.close()
    colour.close()
    assert all("without its RGB frame" in f for f in faults)
    assert read, "complete framesets came"
    image = read[-1].image[:, :, 0]
    assert image.dtype == np.float32
    assert set(np.unique(image)) == {0.0, 500.0}
    # 0.1 m to the side at a distance of 0.5 m is 12 pixels with a focal length of 60 pixels.
    assert int(np.flatnonzero((image > 0).any(0))[0]) == 20 + 12


def test_depth_as_the_camera_sees_it(device: SimulatedDevice) -> None:
    depth = opened(device, "depth")
    device.push("depth", 1, 1000, DEPTH)
    (frame,) = read_all(depth)
    depth.close()
    assert np.unique(frame.image).tolist() == [500.0]


def test_a_stream_is_open_once_and_the_emitter_has_one_setting(device: SimulatedDevice) -> None:
    source = opened(device, "ir", "&emitter=on")
    with pytest.raises(CameraBusy, match="already open"):
        opened(device, "ir")
    with pytest.raises(ConfigError, match="one emitter"):
        opened(device, "depth", "&emitter=off")
    source.close()


def test_a_stream_that_cannot_join_leaves_the_others_running(
    device: SimulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(device, "ir")
    start = device.start

    def refuse(streams: Mapping[Modality, StreamRequest]) -> None:
        if len(streams) > 1:
            raise CameraBusy("no bandwidth")
        start(streams)

    monkeypatch.setattr(device, "start", refuse)
    with pytest.raises(CameraBusy, match="no bandwidth"):
        opened(device, "rgb")
    device.push("ir", 1, 1000, GREY)
    assert [f.seq for f in read_all(source)] == [1]
    source.close()


@pytest.mark.parametrize("error", [CameraLost("unplugged"), RuntimeError("/secret/path")])
def test_a_device_that_goes_away_is_lost_to_all_of_its_streams(error: Exception, device: SimulatedDevice) -> None:
    infrared, colour = opened(device, "ir"), opened(device, "rgb")
    device.error = error
    for source in (infrared, colour):
        with pytest.raises(CameraLost) as caught:
            source.read(20)
        assert "secret" not in caught.value.message
    with pytest.raises(CaptureError):
        opened(device, "depth")
    infrared.close()
    colour.close()


def test_no_device_is_attached() -> None:
    with pytest.raises(CameraMissing, match="this serial number; no RealSense is attached"):
        open_realsense(parse_uri("realsense:123"), "ir", 0)
    with pytest.raises(CameraMissing, match="no RealSense is attached"):
        open_realsense(parse_uri("realsense:"), "ir", 0)
    with pytest.raises(ConfigError):
        open_realsense(parse_uri("realsense:?laser=1"), "ir", 0)
    assert not realsense.HUBS


def test_what_the_library_refuses_is_told_apart() -> None:
    streams: dict[Modality, StreamRequest] = {"ir": StreamRequest("ir", (640, 480), 30, 1, "leave", False)}
    kinds = {
        "Couldn't resolve requests": "CameraUnsupported",
        "failed to open usb interface: RS2_USB_STATUS_ACCESS": "CameraDenied",
        "xioctl(VIDIOC_S_FMT) failed, errno=16 Last Error: Device or resource busy": "CameraBusy",
        "failed to set power state": "CameraLost",
    }
    assert {said: type(refused("realsense:1", RuntimeError(said), streams)).__name__ for said in kinds} == kinds
    attached = [SimpleNamespace(supports=lambda info: True, get_info=lambda info: "1")]
    context = SimpleNamespace(query_devices=lambda: attached)
    library = SimpleNamespace(context=lambda: context, camera_info=rs.camera_info)
    driver = PipelineDriver(library, "", "realsense:1")
    attached.clear()
    with pytest.raises(CameraMissing, match="no longer attached"):
        driver.start(streams)
