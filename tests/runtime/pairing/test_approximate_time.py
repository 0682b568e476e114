"""The ApproximateTime reference is compared with published cases of ROS message_filters and with results of the
library."""

from __future__ import annotations

import json

import pytest

from runtime.core.units import SECOND
from tests.support.approximate_time import VECTORS, Message, run


def timeline(first: str, second: str) -> list[Message]:
    """Return messages in order of time. Each column is one second, and a dot means no message. The first stream comes
    first."""
    columns = max(len(first), len(second))
    return [
        (stream, column * SECOND)
        for column in range(columns)
        for stream, row in enumerate((first, second))
        if row[column : column + 1] not in ("", ".")
    ]


LONG_QUEUE: list[Message] = [
    *((0, k * SECOND) for k in range(9)),
    (1, 3 * SECOND),
    *((0, k * SECOND) for k in (9, 10, 11, 12)),
    (1, 10 * SECOND),
    (0, 13 * SECOND),
]
DOUBLE_PUBLISH: list[Message] = [(0, 0), (1, SECOND), (1, 3 * SECOND), (0, 3 * SECOND)]
IN_STEP = timeline("a..b..c.", ".A..B..C")

PUBLISHED: dict[str, tuple[int, float, list[Message], list[tuple[int, int]]]] = {
    # name: queue size, rate bound of the first stream in seconds, messages, pairs in seconds
    "ExactMatch": (10, 0, timeline("a..b..c", "A..B..C"), [(0, 0), (3, 3), (6, 6)]),
    "PerfectMatch": (10, 0, IN_STEP, [(0, 1), (3, 4)]),
    "ImperfectMatch": (10, 0, timeline("a.xb..c.", ".A...B.C"), [(0, 1), (6, 5)]),
    "Acceleration": (10, 0, timeline("a...........b....c.", ".......A.......B..C"), [(12, 7), (17, 18)]),
    "DroppedMessages, queue 1": (1, 0, timeline("a...b...c.d..e.", ".A.B...C...D..E"), [(4, 3), (10, 11)]),
    "DroppedMessages, queue 2": (
        2,
        0,
        timeline("a...b...c.d..e.", ".A.B...C...D..E"),
        [(0, 1), (4, 3), (8, 7), (10, 11)],
    ),
    "LongQueue": (5, 0, LONG_QUEUE, [(10, 10)]),
    "DoublePublish": (10, 0, DOUBLE_PUBLISH, [(0, 1), (3, 3)]),
    "RateBound 1.5": (10, 1.5, IN_STEP, [(0, 1), (3, 4)]),
    "RateBound 2": (10, 2, IN_STEP, [(0, 1), (3, 4), (6, 7)]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_cases(name: str) -> None:
    queue, bound, messages, pairs = PUBLISHED[name]
    case = {
        "queue": queue,
        "penalty": 0.1,
        "longest": 0,
        "bounds": [int(bound * SECOND), 0],
        "messages": [(stream, timestamp + SECOND) for stream, timestamp in messages],
    }
    assert [(a // SECOND - 1, b // SECOND - 1) for a, b, _ in run(case)] == pairs


def test_answers_of_the_real_library() -> None:
    """Pairs, their order, and the message that completed each."""
    cases = json.loads(VECTORS.read_text())
    assert len(cases) == 100
    assert sum(len(case["pairs"]) for case in cases) > 400
    for case in cases:
        assert [list(made) for made in run(case)] == case["pairs"]
