"""Draw the board on a sheet of paper at true scale, as PDF or PNG, with a ruler and printing instructions."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.geometry.board import CELLS, MARKER_SHARE, Board
from runtime.core.errors import ConfigError

PAGES = {"a4": (210.0, 297.0), "letter": (215.9, 279.4)}
RULER_MM = 100.0
BELOW_MM = 27.0
"""Space in mm for ruler and text below the board."""
EDGE_MM = 6.0
"""Margin in mm on which printers cannot print."""
TEXT_MM = 3.2
POINTS_PER_MM = 72 / 25.4


@dataclass(frozen=True, slots=True)
class Bar:
    """A black rectangle: left, top, width and height in mm, measured from the top left corner of the sheet."""

    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text: left end and baseline in mm, and the text."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet to print: page size in mm, black rectangles, and lines of text."""

    width: float
    height: float
    bars: tuple[Bar, ...]
    lines: tuple[Line, ...]


def sheet_of(board: Board, page: str = "a4") -> Sheet:
    """Lay ``board`` out on a page of `PAGES`.

    Raises:
        ConfigError: there is no such page, or the board does not fit on it.
    """
    if page not in PAGES:
        raise ConfigError(f"unknown page {page!r}. Use one of: {', '.join(PAGES)}.")
    width, height = PAGES[page]
    free = height - board.height_mm - BELOW_MM
    if board.width_mm + 2 * EDGE_MM > width or free < 2 * EDGE_MM:
        largest = min((width - 2 * EDGE_MM) / board.columns, (height - BELOW_MM - 2 * EDGE_MM) / board.rows)
        raise ConfigError(
            f"{board.name} take {board.width_mm:g}×{board.height_mm:g} mm and do not fit on {page}. Squares of "
            f"{int(largest)} mm fit."
        )
    left, top = (width - board.width_mm) / 2, free / 2
    module = board.square_mm / CELLS
    bars = [
        Bar(left + x * module, top + row * module, length * module, module)
        for row, line in enumerate(board.modules())
        for x, length in runs(line)
    ]
    ruler_y = top + board.height_mm + 7
    bars.append(Bar(left, ruler_y, RULER_MM, 0.3))
    for tick in range(11):
        # The outer edges of the first and the last tick are 100 mm apart.
        x = left + tick * RULER_MM / 10 - (0.15 if 0 < tick < 10 else 0.3 if tick == 10 else 0)
        tall = 4.0 if tick in (0, 5, 10) else 2.5
        bars.append(Bar(x, ruler_y - tall, 0.3, tall))
    said = (
        f"adsn calibration board: {board.name}, markers of {board.square_mm * MARKER_SHARE:g} mm.",
        "Print at 100 %, not fitted to the page. Check that the ruler above is 100 mm from edge to edge.",
        "Use black laser toner (carbon): most inkjet black is invisible in near infrared. Mount it flat, no glass.",
    )
    lines = tuple(Line(left, ruler_y + 6 + 5 * number, text) for number, text in enumerate(said))
    return Sheet(width, height, tuple(bars), lines)


def runs(line: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the start and length of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(np.int8)))
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def to_png(sheet: Sheet, path: Path, dpi: int = 300) -> None:
    """Write the sheet as a grey PNG that states its resolution.

    Raises:
        OSError: the file cannot be written.
    """
    scale = dpi / 25.4
    picture = np.full((round(sheet.height * scale), round(sheet.width * scale)), 255, np.uint8)
    for bar in sheet.bars:
        x0, y0, x1, y1 = (round(v * scale) for v in (bar.x, bar.y, bar.x + bar.w, bar.y + bar.h))
        picture[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = 0
    for line in sheet.lines:
        place = (round(line.x * scale), round(line.y * scale))
        cv2.putText(
            picture,
            line.text,
            place,
            cv2.FONT_HERSHEY_SIMPLEX,
            TEXT_MM * scale / 34,
            0,
            max(1, dpi // 150),
            cv2.LINE_AA,
        )
    done, content = cv2.imencode(".png", picture)
    if not done:
        raise OSError(f"{path}: the image could not be encoded")
    path.write_bytes(with_resolution(content.tobytes(), dpi))


def with_resolution(png: bytes, dpi: int) -> bytes:
    """Return ``png`` with an added pHYs chunk, so that programs print it at its true size. OpenCV does not write that
    chunk."""
    kind = b"pHYs"
    body = round(dpi / 0.0254).to_bytes(4, "big") * 2 + b"\x01"
    chunk = len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
    after_header = 8 + 4 + 4 + 13 + 4
    return png[:after_header] + chunk + png[after_header:]


def to_pdf(sheet: Sheet, path: Path) -> None:
    """Write the sheet as a one-page PDF of vector graphics.

    Raises:
        OSError: the file cannot be written.
    """

    def at(value: float) -> str:
        return f"{value * POINTS_PER_MM:.4f}"

    # A single filled path, unlike one per rectangle, leaves no hairlines between adjacent rectangles.
    drawn = [f"{at(b.x)} {at(sheet.height - b.y - b.h)} {at(b.w)} {at(b.h)} re" for b in sheet.bars]
    texts = [
        f"BT /F1 {at(TEXT_MM)} Tf {at(line.x)} {at(sheet.height - line.y)} Td ({escaped(line.text)}) Tj ET"
        for line in sheet.lines
    ]
    content = zlib.compress("\n".join(["0 g", *drawn, "f", *texts]).encode("ascii"))
    box = f"[0 0 {at(sheet.width)} {at(sheet.height)}]"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>".encode("ascii"),
        f"<< /Length {len(content)} /Filter /FlateDecode >>\nstream\n".encode("ascii") + content + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    path.write_bytes(pdf_file(objects))


def escaped(text: str) -> str:
    """Return ``text`` escaped for a PDF string."""
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def pdf_file(objects: Sequence[bytes]) -> bytes:
    """Return a PDF file of ``objects``, numbered from 1. The first must be the catalogue (ISO 32000-1, 7.5)."""
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode("ascii") + body + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode("ascii")
    out += b"".join(f"{place:010d} 00000 n \n".encode("ascii") for place in places)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode("ascii")
    return bytes(out)
