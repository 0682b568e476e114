"""``adsn-calib board`` and ``rig``: write the calibration board, and calibrate the geometry of a rig."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from numpy.typing import NDArray
from rich.console import Console

from calib.capture import read_cameras
from calib.geometry.board import Board
from calib.geometry.pictures import pairs_in, write
from calib.geometry.session import BoardSession
from calib.geometry.sheet import PAGES, sheet_of, to_pdf, to_png
from calib.geometry.stereo import StereoCalibration, calibrate
from runtime.core.errors import CalibrationInvalid, ConfigError, InputError
from runtime.core.values import MODALITY_NAMES, Frame, Modality
from runtime.geometry.box_mapping import FACE_BOX_MM, CameraModel
from runtime.geometry.calibration_file import load_geometry, save_geometry

BOTH: tuple[Modality, Modality] = ("rgb", "ir")
LOOK_S = 0.15
"""Interval in seconds between two looks at the cameras, long enough to notice a moving board."""
TELL_S = 4.0
USUAL = Board()

Columns = Annotated[int, typer.Option(help="Number of squares across the board.")]
Rows = Annotated[int, typer.Option(help="Number of squares down the board.")]
Square = Annotated[float, typer.Option("--square-mm", help="Edge of a square in mm, as measured on the print.")]
Rgb = Annotated[str | None, typer.Option(help="Address of the RGB camera, e.g. v4l2:/dev/video0?size=640x480.")]
Ir = Annotated[str | None, typer.Option(help="Address of the IR camera.")]


def board(
    out: Annotated[Path, typer.Argument(help="File to write: .pdf or .png.", show_default=False)],
    page: Annotated[str, typer.Option(help=f"Paper size: {' or '.join(PAGES)}.")] = "a4",
    columns: Columns = USUAL.columns,
    rows: Rows = USUAL.rows,
    square_mm: Square = USUAL.square_mm,
    dpi: Annotated[int, typer.Option(help="Resolution of a PNG.", min=75, max=1200)] = 300,
) -> None:
    """Write the calibration board for printing at 100 % scale on a laser printer."""
    sheet = sheet_of(Board(columns, rows, square_mm), page)
    if out.suffix.lower() == ".pdf":
        written = attempt(out, lambda: to_pdf(sheet, out))
    elif out.suffix.lower() == ".png":
        written = attempt(out, lambda: to_png(sheet, out, dpi))
    else:
        raise ConfigError(f"{out}: the name must end in .pdf or .png.")
    Console(soft_wrap=True, highlight=False, markup=False).print(
        f"wrote {written}. Print it at 100 % with black toner, and check that the ruler is 100 mm long."
    )


def attempt(path: Path, write_it: Any) -> Path:
    """Write a file with ``write_it`` and return its path.

    Raises:
        InputError: the system refuses to write the file.
    """
    try:
        write_it()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    return path


def rig(
    out: Annotated[Path, typer.Option(help="Geometry file to write; an existing one is renamed.")] = Path("rig.json"),
    images: Annotated[
        Path | None, typer.Option(help="Folder of pairs NAME-rgb.png, NAME-ir.png, instead of live cameras.")
    ] = None,
    rgb: Rgb = None,
    ir: Ir = None,
    rgb_camera: Annotated[
        str | None, typer.Option(help="With --images: identity of the RGB camera, as adsn-rig probe prints it.")
    ] = None,
    ir_camera: Annotated[str | None, typer.Option(help="With --images: identity of the IR camera.")] = None,
    depth_like: Annotated[
        Literal["rgb", "ir"] | None,
        typer.Option(help="Camera that depth is aligned with: ir for most sensors, rgb if the driver aligns it."),
    ] = None,
    depth_camera: Annotated[str | None, typer.Option(help="Identity of the depth camera.")] = None,
    columns: Columns = USUAL.columns,
    rows: Rows = USUAL.rows,
    square_mm: Square = USUAL.square_mm,
    seconds: Annotated[float, typer.Option(help="Time limit for live cameras in seconds.", min=1)] = 300,
    keep: Annotated[
        Path | None,
        typer.Option(help="Folder to store the images in. They show the person who holds the board: restrict access."),
    ] = None,
) -> None:
    """Calibrate a rig's geometry from images of the board. The pipeline uses it to map face boxes between cameras."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    if (depth_like is None) != (depth_camera is None):
        raise ConfigError("--depth-like and --depth-camera must be given together.")
    older = older_name(out)
    session = BoardSession(Board(columns, rows, square_mm), BOTH, still_only=images is None)
    if images is not None:
        if rgb or ir or keep:
            raise ConfigError("--images reads a folder; --rgb, --ir and --keep are for live cameras. Remove one side.")
        identities = from_folder(session, images, {"rgb": rgb_camera, "ir": ir_camera}, console)
    elif rgb and ir:
        identities = live(session, {"rgb": rgb, "ir": ir}, seconds, keep, console)
    else:
        raise ConfigError("pass both cameras with --rgb and --ir, or a folder of their images with --images.")
    session.require_right_cameras()
    trouble = session.trouble()
    try:
        date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        result = calibrate(session.views, session.sizes, identities, session.board, date)
    except CalibrationInvalid as error:
        raise CalibrationInvalid(f"{trouble} {error}" if trouble else error.message) from error
    result = with_depth(result, depth_like, depth_camera)
    if older is not None:
        attempt(out, lambda: os.replace(out, older))
    attempt(out, lambda: save_geometry(result.geometry, out))
    console.print(report(result))
    console.print(f"wrote {out}" + (f"; the previous file is now {older}" if older else ""))
    console.print(f'To use it, set geometry = "{out.resolve()}" in the section [rig].')


def from_folder(
    session: BoardSession, folder: Path, cameras: Mapping[Modality, str | None], console: Console
) -> dict[Modality, str]:
    """Offer the images of a folder to ``session``, and return the identities of the cameras that took them.

    Raises:
        ConfigError: an identity is missing.
    """
    identities: dict[Modality, str] = {modality: name for modality, name in cameras.items() if name}
    if len(identities) < len(cameras):
        raise ConfigError(
            "--images needs --rgb-camera and --ir-camera, the identities of the cameras that took the images: a "
            "geometry is valid only for those cameras."
        )
    for name, pictures in pairs_in(folder, BOTH):
        why = session.offer(name, pictures)
        if why:
            console.print(f"{name}: {why}")
    return identities


def with_depth(result: StereoCalibration, like: Literal["rgb", "ir"] | None, identity: str | None) -> StereoCalibration:
    """Return the result with an additional depth camera, which is aligned with the camera ``like``."""
    if like is None or identity is None:
        return result
    geometry = result.geometry
    depth = dataclasses.replace(geometry.cameras[like], identity=identity)
    cameras: dict[Modality, CameraModel] = {**geometry.cameras, "depth": depth}
    return dataclasses.replace(result, geometry=dataclasses.replace(geometry, cameras=cameras))


def older_name(path: Path) -> Path | None:
    """Return the new, dated name of an existing geometry file, or None if the file does not exist.

    Raises:
        CalibrationInvalid: the existing file is not a geometry file.
    """
    if not path.exists():
        return None
    try:
        timestamp = load_geometry(path).date.replace("-", "").replace(":", "")
    except CalibrationInvalid as error:
        raise CalibrationInvalid(f"{error.message} It is not overwritten; name another file with --out.") from error
    return path.with_name(f"{path.stem}-{timestamp}{path.suffix}")


def report(result: StereoCalibration) -> str:
    """Return the result of a calibration as text."""
    geometry = result.geometry
    ir = geometry.cameras["ir"]
    median, tail = result.held_out_px
    apart = geometry.baseline_mm("rgb", "ir")
    face = float(ir.matrix[0, 0]) * FACE_BOX_MM / 500
    lines = [
        f"{len(result.used)} views; reprojection error {geometry.cameras['rgb'].rms_px:.2f} px RGB, "
        f"{ir.rms_px:.2f} px IR, {geometry.rms_px:.2f} px together",
        f"transfer error in held-out views: {median:.2f} px median, {tail:.2f} px 95th percentile, "
        f"{tail / face:.1%} of a face at 0.5 m",
        f"the cameras are {apart:.1f} mm apart; if a face's distance is estimated from its width, a face 10 % wider "
        f"or narrower than average is misplaced by {apart / FACE_BOX_MM * 0.1:.1%} of its width",
    ]
    if result.left_out:
        lines.append(f"views left out because they contradict the others: {', '.join(result.left_out)}")
    lines += [f"to improve it, add: {what}" for what in result.advice]
    return "\n".join(lines)


def live(
    session: BoardSession, uris: Mapping[Modality, str], seconds: float, keep: Path | None, console: Console
) -> dict[Modality, str]:
    """Collect views from live cameras until no view is missing, and return the identities of the cameras.

    Raises:
        CalibrationInvalid: a camera delivered no frames.
    """
    if keep is not None:
        attempt(keep, lambda: keep.mkdir(parents=True, exist_ok=True))
        console.print(f"Storing images in {keep}. They show the person who holds the board.")
    newest: dict[Modality, Frame] = {}
    lock = threading.Lock()

    def keep_newest(frame: Frame) -> None:
        # The board is not visible in a strobed camera's dark frames.
        if frame.lit != "dark":
            with lock:
                newest[frame.modality] = frame

    with read_cameras(uris, keep_newest) as readers:
        end, told, last = time.monotonic() + seconds, 0.0, ""
        while time.monotonic() < end:
            time.sleep(LOOK_S)
            ended = [reader for reader in readers.values() if reader.ended]
            with lock:
                frames = dict(newest)
                newest.clear()
            if ended and len(frames) < len(uris):
                if not session.views:
                    ended[0].require_running()
                # A recording has ended. Its views may be sufficient.
                break
            if len(frames) < len(uris):
                continue
            pictures: dict[Modality, NDArray[Any]] = {m: frames[m].image for m in session.modalities}
            name = f"board-{session.offered:04}"
            why = session.offer(name, pictures)
            missing = session.gaps()
            if not why:
                if keep is not None:
                    attempt(keep, lambda n=name, p=pictures: write(keep, n, p))
                console.print(f"view {len(session.views)} taken")
                if not missing:
                    break
            if time.monotonic() - told > TELL_S or why != last:
                told, last = time.monotonic(), why
                wanted = f" Still missing: {missing[0].says}" if missing else ""
                console.print(f"{why or 'taken'}.{wanted}")
        silent = [MODALITY_NAMES[m] for m in uris if m not in session.sizes]
        if silent:
            raise CalibrationInvalid(f"no frames came from the {' and the '.join(silent)} camera in {seconds:g} s.")
        return {modality: reader.info.identity for modality, reader in readers.items()}
