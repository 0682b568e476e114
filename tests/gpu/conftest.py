"""Options of the tests on a GPU."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bundle",
        metavar="FOLDER",
        help="a bundle with all artifacts (adsn-export CHECKPOINT --int8 --target trt --target trt11); without it, one "
        "is made, which takes torch",
    )
