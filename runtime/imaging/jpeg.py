"""Check the structure of a JPEG file (ITU-T T.81), and whether its compressed data cover the whole image.

Decoders fill missing data with grey. libjpeg reports that only as a warning, which OpenCV does not expose, so this
module checks the structure itself. It detects misplaced segments and markers, missing or misordered restart markers,
components and bits that no scan provides, and compressed data that end before their part of the image, as they do when
bytes were lost.

It does not detect bytes that were changed in place. It also misses lost bytes if the remaining data happen to decode to
enough blocks, because after a gap a decoder may read blocks that are shorter than the lost ones. That is most likely
for noisy images with the default code tables of the standard.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.values import Image

MARKER = re.compile(rb"\xff[^\x00\xff]")
"""A marker in compressed data. Any other FF byte there is followed by 00, or is a fill byte before a marker."""
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers SOF0 to SOF15, without DHT, JPG and DAC, which lie in the same range."""
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
MOST_SCANS = 32
"""Maximum number of scans; encoders write 1 to 20. Every scan makes a decoder pass over the whole image, even if it has
only a few bytes."""
UNSEEN = 16
"""Marks coefficients that no scan has covered yet: more low bits than any coefficient has."""
GREY = 128
"""Pixel value that libjpeg gives to blocks without data."""
PADDING = bytes(range(0x11, 0xF1, 7))


class Damaged(ValueError):
    """The file ends early, or its structure is not that of a complete JPEG file."""


@dataclass(slots=True)
class Jpeg:
    """Structure of a JPEG file.

    ``factors``: horizontal and vertical sampling factor of each component. ``ends``: end positions of compressed data,
    before each restart marker and each marker that ends a scan. ``interval``: number of MCUs between restart markers,
    or 0 without such markers. ``coefficients``: number of coefficients that a decoder keeps until the last scan, or 0
    for a single scan. An MCU (minimum coded unit) is the smallest group of blocks that is coded together.
    """

    width: int
    height: int
    depth: int
    factors: dict[int, tuple[int, int]]
    progressive: bool
    interval: int = 0
    scans: int = 0
    coefficients: int = 0
    ends: list[int] = field(default_factory=list)
    missing: dict[int, list[int]] = field(default_factory=dict)
    """Component → for each of its 64 coefficients, the number of low bits that no scan has provided yet."""

    @property
    def mcu(self) -> tuple[int, int]:
        """Width and height, in pixels, of an MCU of interleaved data."""
        if len(self.factors) == 1:
            return 8, 8
        return 8 * max(h for h, _ in self.factors.values()), 8 * max(v for _, v in self.factors.values())

    def mcus(self, components: Sequence[int]) -> int:
        """Return the number of MCUs in a scan of these components."""
        across, down = self.mcu
        if len(components) > 1 or len(self.factors) == 1:
            return _parts(self.width, across) * _parts(self.height, down)
        h, v = self.factors[components[0]]
        return _parts(_parts(self.width * h * 8, across), 8) * _parts(_parts(self.height * v * 8, down), 8)


def _parts(length: int, size: int) -> int:
    return -(-length // size)


def read_jpeg(data: bytes) -> Jpeg:
    """Read the structure of a file up to its EOI marker, without decoding any pixel.

    Raises:
        Damaged: the structure has one of the faults listed in the module docstring.
    """
    at, found, interval = 2, None, 0
    while True:
        # Any number of fill bytes may precede a marker.
        while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] == b"\xff":
            at += 1
        if data[at : at + 2] == b"\xff\xd9":
            break
        head = data[at : at + 4]
        if len(head) < 4 or head[0] != 0xFF or head[1] in (0x00, 0x01) or 0xD0 <= head[1] <= 0xD8:
            raise Damaged
        marker, length = head[1], struct.unpack(">H", head[2:])[0]
        content = data[at + 4 : at + 2 + length]
        if length < 2 or len(content) < length - 2:
            raise Damaged
        at += 2 + length
        if marker in FRAMES:
            if found is not None:
                raise Damaged
            found = _frame(content, marker in PROGRESSIVE)
        elif marker == 0xDD:
            if len(content) != 2:
                raise Damaged
            interval = struct.unpack(">H", content)[0]
        elif marker == 0xDA:
            if found is None or found.scans >= MOST_SCANS:
                raise Damaged
            found.interval = interval
            at = _scan(found, data, at, content)
    if found is None or any(any(bits) for bits in found.missing.values()):
        raise Damaged
    return found


def _frame(content: bytes, progressive: bool) -> Jpeg:
    if len(content) < 6 or len(content) < 6 + 3 * content[5]:
        raise Damaged
    depth, height, width, count = struct.unpack(">BHHB", content[:6])
    factors: dict[int, tuple[int, int]] = {}
    for place in range(6, 6 + 3 * count, 3):
        factor = content[place + 1]
        factors[content[place]] = factor >> 4, factor & 15
    if not width or not height or not count or len(factors) != count:
        raise Damaged
    if not all(1 <= h <= 4 and 1 <= v <= 4 for h, v in factors.values()):
        raise Damaged
    missing = {component: [UNSEEN] * 64 for component in factors}
    return Jpeg(width, height, depth, factors, progressive, missing=missing)


def _scan(found: Jpeg, data: bytes, at: int, content: bytes) -> int:
    """Read a scan with header ``content`` whose data begin at ``at``. Return the position of the next marker."""
    count = content[0] if content else 0
    if not 1 <= count <= 4 or len(content) < 4 + 2 * count:
        raise Damaged
    components = list(content[1 : 1 + 2 * count : 2])
    if any(component not in found.factors for component in components):
        raise Damaged
    first, last, bits = content[1 + 2 * count : 4 + 2 * count]
    if not found.progressive:
        first, last, bits = 0, 63, 0
    high, low = bits >> 4, bits & 15
    # The first scan of a coefficient provides all bits from one position upwards. Each later scan provides the next
    # lower bit.
    before = high or UNSEEN
    if not first <= last <= 63 or (high and low != high - 1):
        raise Damaged
    for component in components:
        if any(missing != before for missing in found.missing[component][first : last + 1]):
            raise Damaged
        found.missing[component][first : last + 1] = [low] * (last + 1 - first)
    found.scans += 1
    if found.progressive or count < len(found.factors):
        across, down = found.mcu
        found.coefficients = found.width * found.height * 64 * sum(h * v for h, v in found.factors.values())
        found.coefficients //= across * down
    least = _parts(found.mcus(components), found.interval) - 1 if found.interval else 0
    for restarts, mark in enumerate(MARKER.finditer(data, at)):
        end = mark.start()
        while data[end - 1] == 0xFF:
            end -= 1
        found.ends.append(end)
        kind = data[mark.end() - 1]
        if not 0xD0 <= kind <= 0xD7:
            if restarts < least:
                raise Damaged
            return end
        if kind != 0xD0 + restarts % 8 or not found.interval:
            raise Damaged
    raise Damaged


def ends_early(data: bytes, found: Jpeg, pixels: Image | None = None, reduction: int = 1) -> bool:
    """Return whether compressed data end before their part of the image.

    ``pixels``: the decoded image, colour or grey, at 1/``reduction`` of its size, if it is available. For the test,
    bytes are inserted at the end of the data of each part, and the file is decoded with and without them. If the data
    are complete, a decoder skips the extra bytes; otherwise it decodes them and the image changes. The test is skipped
    for a single-scan image none of whose parts ends in grey: its data are complete.
    """
    if not found.coefficients and pixels is not None and not _grey_ends(found, pixels, reduction):
        return False
    places = [0, *found.ends, len(data)]
    padded = PADDING.join(data[a:b] for a, b in pairwise(places))
    # With one scan, missing data leave whole blocks empty. With several scans only details may be missing, so decode at
    # a larger size.
    flags = cv2.IMREAD_REDUCED_COLOR_2 if found.coefficients else cv2.IMREAD_REDUCED_COLOR_8
    flags |= cv2.IMREAD_IGNORE_ORIENTATION
    one, other = (cv2.imdecode(np.frombuffer(file, np.uint8), flags) for file in (data, padded))
    return one is None or other is None or not np.array_equal(one, other)


def _grey_ends(found: Jpeg, pixels: NDArray[np.uint8], reduction: int) -> bool:
    """Return whether any part of the data ends with an MCU whose middle is plain grey. ``pixels``: see `ends_early`."""
    across, down = found.mcu
    columns = _parts(found.width, across)
    total = columns * _parts(found.height, down)
    step = found.interval or total
    lasts = np.minimum(np.arange(step, total + step, step), total) - 1
    # At the edge of the image less than half of an MCU may be visible.
    rows = np.minimum(lasts // columns * down + 2, found.height - 1)
    places = np.minimum(lasts % columns * across + 2, found.width - 1)
    rows, places, edge = rows // reduction, places // reduction, max(4 // reduction, 1)
    grey = (pixels[rows, places].reshape(len(lasts), -1) == GREY).all(1)
    middles = ((y, x) for y, x in zip(rows[grey], places[grey], strict=True))
    return any((pixels[y : y + edge, x : x + edge] == GREY).all() for y, x in middles)
