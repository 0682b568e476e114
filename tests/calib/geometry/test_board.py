"""The printed board: its scale, and the corners that a camera finds on it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calib.geometry.board import Board, BoardFinder
from calib.geometry.sheet import PAGES, RULER_MM, sheet_of, to_pdf, to_png
from runtime.core.errors import ConfigError

MM_PER_INCH = 25.4


def require_true_scale(picture: NDArray[Any], dpi: float, board: Board) -> None:
    """Require that all corners are found, and that their mean distance is one square to within a fiftieth of a
    millimetre."""
    seen = BoardFinder(board).find(picture)
    assert seen is not None
    assert seen.numbers.size == (board.columns - 1) * (board.rows - 1)
    true = board.corners_mm()[:, :2]
    found = (seen.pixels - seen.pixels[0]) * MM_PER_INCH / dpi
    assert np.abs(found - (true - true[0])).max() < 0.15
    scale = np.linalg.norm(found[-1] - found[0]) / np.linalg.norm(true[-1] - true[0])
    assert abs(scale - 1) < 0.0005


def ruler_mm(picture: NDArray[Any], dpi: float) -> float:
    """Return the length of the longest horizontal black line outside the board."""
    rows = (picture < 100).sum(axis=1)
    below = np.flatnonzero(rows[: int(picture.shape[0] * 0.97)] > 90 * dpi / MM_PER_INCH)
    columns = np.flatnonzero(picture[below[-1]] < 100)
    return float(columns[-1] - columns[0] + 1) * MM_PER_INCH / dpi


@pytest.mark.parametrize("page", PAGES)
def test_the_png_is_at_true_scale_and_knows_it(tmp_path: Path, page: str) -> None:
    board, path = Board(), tmp_path / "board.png"
    to_png(sheet_of(board, page), path)
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    width, height = PAGES[page]
    assert picture.shape == (round(height * 300 / MM_PER_INCH), round(width * 300 / MM_PER_INCH))
    require_true_scale(picture, 300, board)
    assert ruler_mm(picture, 300) == pytest.approx(RULER_MM, abs=0.2)
    content = path.read_bytes()
    where = content.index(b"pHYs") + 4
    assert int.from_bytes(content[where : where + 4], "big") == round(300 / 0.0254)


@pytest.mark.parametrize("page", PAGES)
def test_the_pdf_is_one_page_at_true_scale(tmp_path: Path, page: str) -> None:
    pdfium = pytest.importorskip("pypdfium2", reason="pypdfium2, of the extra dev, draws the page")
    board, path = Board(), tmp_path / "board.pdf"
    to_pdf(sheet_of(board, page), path)
    document = pdfium.PdfDocument(path)
    assert len(document) == 1
    size = [value / 72 * MM_PER_INCH for value in document[0].get_size()]
    assert size == pytest.approx(PAGES[page], abs=0.01)
    picture = document[0].render(scale=200 / 72, grayscale=True).to_numpy()
    require_true_scale(picture, 200, board)
    assert ruler_mm(picture, 200) == pytest.approx(RULER_MM, abs=0.3)
    text = document[0].get_textpage().get_text_range()
    for word in ("ruler", "100 mm", "toner", "infrared", board.name, "(carbon)"):
        assert word in text


def test_rectangles_that_touch_leave_no_line_between_them(tmp_path: Path) -> None:
    pdfium = pytest.importorskip("pypdfium2", reason="pypdfium2, of the extra dev, draws the page")
    sheet = sheet_of(Board())
    to_pdf(sheet, tmp_path / "board.pdf")
    # An odd scale at which no edge falls on a pixel boundary.
    picture = pdfium.PdfDocument(tmp_path / "board.pdf")[0].render(scale=1.37, grayscale=True).to_numpy()
    first = sheet.bars[0]
    x, y, side = (round(v * 72 / MM_PER_INCH * 1.37) for v in (first.x, first.y, 24))
    assert picture[y + 2 : y + side - 2, x + 2 : x + side - 2].max() < 10


def test_another_program_reads_the_pdf_too(tmp_path: Path) -> None:
    to_pdf(sheet_of(Board()), tmp_path / "board.pdf")
    try:
        done = subprocess.run(["pdfinfo", tmp_path / "board.pdf"], capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("pdfinfo is not installed (apt install poppler-utils)")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "A4" in done.stdout


def test_a_board_that_does_not_fit_says_what_does() -> None:
    with pytest.raises(ConfigError, match="Squares of 25 mm fit"):
        sheet_of(Board(square_mm=30), "a4")
    with pytest.raises(ConfigError, match="a4, letter"):
        sheet_of(Board(), "a3")
    sheet_of(Board(square_mm=25), "a4")
