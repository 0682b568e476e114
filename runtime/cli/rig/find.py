"""``adsn-rig list`` and ``adsn-rig probe``: list the cameras, and measure what one of them delivers."""

from __future__ import annotations

import dataclasses
import itertools
import json
import statistics
import time
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import Console

from runtime.capture.open import SCHEMES, check_uri, missing_package, open_source
from runtime.capture.source import Source
from runtime.capture.v4l2.devices import VideoDevice, list_devices
from runtime.cli.command import FAILURE, Json
from runtime.core.errors import CameraData, CameraLost, ConfigError
from runtime.core.values import MODALITIES, Modality
from runtime.pairing.illumination import FrameStats, IlluminationClassifier, frame_stats

FIRST_S = 10.0
"""Timeout for the first frame."""

Address = Annotated[str, typer.Argument(help="Address of the camera, e.g. v4l2:/dev/video2?fourcc=GREY.")]
As = Annotated[str | None, typer.Option("--as", help="rgb, ir or depth; default: as its formats suggest, or rgb.")]
Seconds = Annotated[float, typer.Option(help="How long to watch the camera, in seconds.", min=0.2, max=3600)]


def list_cameras(as_json: Json = False) -> None:
    """List the cameras of this machine with their addresses, and all kinds of addresses."""
    devices = list_devices()
    kinds = {name: missing_package(scheme) for name, scheme in SCHEMES.items()}
    if as_json:
        found = [{**dataclasses.asdict(device), "uri": device.uri} for device in devices]
        typer.echo(json.dumps({"cameras": found, "schemes": {n: not missing for n, missing in kinds.items()}}))
        return
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for device in devices:
        console.print(device.uri, style="bold")
        console.print(f"    {device_line(device)}")
        for offered in device.formats:
            console.print(f"    {offered}")
    if not devices:
        console.print("No kernel camera (/dev/video*). Is one plugged in, and passed to this container?")
    console.print("\nKinds of addresses:")
    for name, scheme in SCHEMES.items():
        console.print(f"  {name:10} {scheme.what}, e.g. {scheme.example}")
        if kinds[name]:
            console.print(f"             needs: {kinds[name]}", style="yellow")


def device_line(device: VideoDevice) -> str:
    """Return one line about a device: its name, bus and modality, or why it cannot be used."""
    parts = [device.card or device.path, device.bus, device.modality or ""]
    if device.metadata:
        parts.append(f"metadata at {device.metadata}")
    if device.problem:
        parts.append(device.problem)
    return ", ".join(filter(None, parts))


@dataclass(slots=True)
class CameraObservations:
    """Observations of a camera while it was watched."""

    frames: list[tuple[int, int, int | None]] = field(default_factory=list)
    stats: list[FrameStats] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    damaged: int = 0
    error: str = ""
    pattern: str = ""


def probe(uri: Address, modality: As = None, seconds: Seconds = 3.0, as_json: Json = False) -> None:
    """Open a camera, watch it for a while, and print what it delivers. Exit code 1 if no usable frame comes."""
    check_uri(uri)
    chosen = modality_of(uri, modality)
    source = open_source(uri, chosen)
    try:
        report = camera_report(source, watch_camera(source, chosen, seconds), chosen)
    finally:
        source.close()
    if as_json:
        typer.echo(json.dumps(report))
    else:
        console = Console(soft_wrap=True, highlight=False, markup=False)
        for name, value in report.items():
            if name != "problems":
                console.print(f"{name.replace('_', ' '):18} {value}")
        for problem in report["problems"]:
            console.print(f"! {problem}", style="yellow")
    if not report["frames"]:
        raise typer.Exit(FAILURE)


def modality_of(uri: str, named: str | None) -> Modality:
    """Return the modality as which to open a camera.

    Raises:
        ConfigError: ``named`` is not a modality.
    """
    if named is not None:
        found = next((m for m in MODALITIES if m == named), None)
        if found is None:
            raise ConfigError(f"--as must be one of {', '.join(MODALITIES)}, not {named!r}.")
        return found
    path = check_uri(uri).path
    if uri.startswith("v4l2:"):
        for device in list_devices():
            if device.modality and path in (device.path, device.uri.removeprefix("v4l2:")):
                return device.modality
    return "rgb"


def watch_camera(source: Source, modality: Modality, seconds: float) -> CameraObservations:
    """Read a camera for ``seconds`` after its first frame."""
    observations = CameraObservations()
    classifier = IlluminationClassifier()
    end = time.monotonic() + FIRST_S
    while time.monotonic() < end:
        try:
            frame = source.read(0.2)
        except CameraData as error:
            observations.damaged, observations.error = observations.damaged + 1, str(error)
            continue
        except CameraLost as error:
            observations.error = str(error)
            break
        if frame is None:
            continue
        if not observations.frames:
            end = time.monotonic() + seconds
        observations.frames.append((frame.t_capture_ns, frame.t_arrival_ns, frame.seq))
        if modality != "depth":
            stats = frame_stats(frame.image)
            observations.stats.append(stats)
            if modality == "ir":
                state = classifier.classify(stats, t_ns=frame.t_capture_ns, seq=frame.seq, lit=frame.lit)
                observations.states[state] = observations.states.get(state, 0) + 1
    if modality == "ir" and observations.frames:
        known = classifier.state
        observations.pattern = known.reason or known.pattern or "unknown"
    return observations


def camera_report(source: Source, observations: CameraObservations, modality: Modality) -> dict[str, Any]:
    """Return the report to print, as a JSON object."""
    info = source.info
    report: dict[str, Any] = {
        "uri": info.uri,
        "opened_as": modality,
        "identity": info.identity,
        "picture": f"{info.width}×{info.height} {info.pixel_format}",
        "states_fps": info.fps,
        "timestamps": info.timestamp_source,
        "frames": len(observations.frames),
    }
    problems = [observations.error] if observations.error else []
    if len(observations.frames) > 2:
        times = [capture for capture, _, _ in observations.frames]
        gaps = [(b - a) / 1e6 for a, b in itertools.pairwise(times)]
        typical = statistics.median(gaps)
        rate = 1e3 / typical if typical > 0 else 0.0
        numbers = [seq for _, _, seq in observations.frames if seq is not None]
        missing = numbers[-1] - numbers[0] + 1 - len(numbers) if len(numbers) > 1 else None
        report |= {
            "measured_fps": round((len(times) - 1) * 1e9 / max(times[-1] - times[0], 1), 2),
            "interval_ms": f"{typical:.2f}, from {min(gaps):.2f} to {max(gaps):.2f}",
            "arrival_delay_ms": round(statistics.median((b - a) / 1e6 for a, b, _ in observations.frames), 2),
            "frames_missing": missing,
        }
        if missing:
            problems.append(
                f"{missing} frames are missing by the driver's sequence numbers: the bus or this machine is overloaded."
            )
        if info.fps and rate and rate < 0.9 * info.fps:
            problems.append(
                f"it states {info.fps:g} frames/s but sends {rate:.1f}: automatic exposure may lengthen frames in the "
                "dark (turn dynamic frame rate off), or the bus is too slow."
            )
    if info.timestamp_source == "arrival":
        problems.append("capture times are arrival times: pairs are less exact than with kernel or device times.")
    if observations.stats:
        means = [s.mean for s in observations.stats]
        report["brightness"] = f"{statistics.mean(means):.1f} of 255, from {min(means):.1f} to {max(means):.1f}"
        if max(s.std for s in observations.stats) < 2:
            problems.append("the image is flat: a cover, a closed shutter, or a camera that sends nothing.")
    if modality == "ir" and observations.states:
        counts = ", ".join(f"{n} {state}" for state, n in sorted(observations.states.items()))
        report["illumination"] = f"{observations.pattern}: {counts}"
    if observations.damaged:
        problems.append(f"{observations.damaged} frames were damaged.")
    if not observations.frames:
        problems.append(f"no frame arrived within {FIRST_S:g} s.")
    report["problems"] = problems
    return report
