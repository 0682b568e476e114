"""The ApproximateTime rule of ROS message_filters, reimplemented from its description, as a reference.

Source: http://wiki.ros.org/message_filters/ApproximateTime. Among the undecided messages of each stream, the rule
searches for the set with the smallest spread that contains the pivot, which is the latest of the first messages. A
later set replaces an earlier one only if it is better by an age penalty. No message is used twice. A set is emitted
once no future message can give a better one. The behaviour with full queues and rate bounds was measured on the real
library, with the program in `data/`: ``python -m tests.support.approximate_time DRIVER`` runs it and writes
``data/approximate_time.json``.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent / "data" / "approximate_time.json"
Message = tuple[int, int]
"""Stream and timestamp in nanoseconds."""
Made = tuple[int, int, int]
"""Timestamps of both streams, and the number of messages added when the pair was emitted."""


class _Queue:
    """Messages of one stream. The current search has already passed those before ``head``."""

    def __init__(self, bound: int) -> None:
        self.timestamps: list[int] = []
        self.head = 0
        self.bound = bound
        self.dropped = False

    @property
    def empty(self) -> bool:
        return self.head == len(self.timestamps)

    def earliest(self, pivot_time: int) -> int:
        """Return the earliest possible time of the next message, from the rate bound if the queue is empty."""
        if not self.empty:
            return self.timestamps[self.head]
        return max(self.timestamps[-1] + self.bound, pivot_time)


class ApproximateTime:
    """The rule for two or more streams. Times are integers. ``longest``: maximum spread of a set, None for no limit."""

    def __init__(
        self, queue_size: int, *, bounds: Sequence[int] = (0, 0), age_penalty: float = 0.1, longest: int | None = None
    ) -> None:
        self._queues = [_Queue(bound) for bound in bounds]
        self._size, self._factor, self._longest = queue_size, 1 + age_penalty, longest
        self._pivot: int | None = None
        self._pivot_time = self._start = self._end = 0

    def add(self, stream: int, timestamp: int) -> list[tuple[int, ...]]:
        """Add a message and return the sets that it completes."""
        queue = self._queues[stream]
        had_none = queue.empty
        queue.timestamps.append(timestamp)
        out = self._search() if had_none else []
        if len(queue.timestamps) > self._size:
            for each in self._queues:
                each.head = 0
            queue.timestamps.pop(0)
            queue.dropped = True
            if self._pivot is not None:
                self._pivot = None
                out += self._search()
        return out

    def _search(self) -> list[tuple[int, ...]]:
        out = []
        queues = self._queues
        while not any(queue.empty for queue in queues):
            heads = [queue.timestamps[queue.head] for queue in queues]
            start, end = min(heads), max(heads)
            first = heads.index(start)
            last = max(number for number, head in enumerate(heads) if head == end)
            for number, queue in enumerate(queues):
                # A set with a message dropped before this head cannot have been better, unless this head is the latest.
                queue.dropped = queue.dropped and number == last
            if self._pivot is None:
                if (self._longest is not None and end - start > self._longest) or queues[last].dropped:
                    queues[first].timestamps.pop(0)
                    continue
                self._pivot, self._pivot_time = last, end
                self._remember(start, end)
            elif not self._no_better(start, end):
                self._remember(start, end)
            queues[first].head += 1
            if first == self._pivot or self._no_better(self._pivot_time, end) or self._proven():
                out.append(tuple(queue.timestamps.pop(0) for queue in queues))
                for queue in queues:
                    queue.head = 0
                self._pivot = None
        return out

    def _no_better(self, start: int, end: int) -> bool:
        """Return whether a set from ``start`` to ``end`` is no better than the remembered one."""
        return round((end - self._end) * self._factor) >= start - self._start

    def _remember(self, start: int, end: int) -> None:
        """Remember the heads as the best set so far, and drop the messages before them."""
        self._start, self._end = start, end
        for queue in self._queues:
            del queue.timestamps[: queue.head]
            queue.head = 0

    def _proven(self) -> bool:
        """Return whether no future message can give a better set than the remembered one. Called only when a stream has
        no messages left."""
        queues = self._queues
        if not any(queue.empty for queue in queues):
            return False
        heads = [queue.head for queue in queues]
        while True:
            soonest = [queue.earliest(self._pivot_time) for queue in queues]
            start, end = min(soonest), max(soonest)
            if self._no_better(self._pivot_time, end):
                return True
            if not self._no_better(start, end):
                for queue, head in zip(queues, heads, strict=True):
                    queue.head = head
                return False
            queues[soonest.index(start)].head += 1


def run(case: dict[str, Any]) -> list[Made]:
    """Return the pairs of one case, in the driver's output format."""
    rule = ApproximateTime(
        case["queue"], bounds=case["bounds"], age_penalty=case["penalty"], longest=case["longest"] or None
    )
    made = []
    for count, (stream, timestamp) in enumerate(case["messages"], 1):
        made += [(first, second, count) for first, second in rule.add(stream, timestamp)]
    return made


def random_case(rng: random.Random) -> dict[str, Any]:
    """Return a case with random settings and two streams that have jitter, drops and ties."""
    unit = 1_000_000  # small multiples of a unit, so that ties are frequent
    messages: list[Message] = []
    for stream in (0, 1):
        time = rng.randrange(1, 40)
        for _ in range(rng.randrange(2, 26)):
            time += rng.choice([rng.randrange(0, 12), rng.randrange(28, 39), 33])
            if rng.random() > 0.15:
                messages.append((stream, time * unit))
    messages.sort(key=lambda message: message[1] + (0 if rng.random() < 0.9 else rng.randrange(30 * unit)))
    return {
        "queue": rng.choice([1, 2, 3, 5, 10]),
        "penalty": rng.choice([0.0, 0.1, 0.1, 0.5]),
        "longest": rng.choice([0, 0, 10, 20]) * unit,
        "bounds": [rng.choice([0, 0, 5, 20, 28]) * unit for _ in range(2)],
        "messages": messages,
    }


def ask(driver: str, cases: Sequence[dict[str, Any]]) -> list[list[Made]]:
    """Return the results of the real library for the cases."""
    lines = []
    for case in cases:
        settings = [case["queue"], case["penalty"], case["longest"], *case["bounds"], len(case["messages"])]
        lines.append(" ".join(str(v) for v in (*settings, *(v for message in case["messages"] for v in message))))
    done = subprocess.run([driver], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True)
    answers = []
    for line in done.stdout.splitlines():
        _, *numbers = map(int, line.split())
        answers.append([(numbers[i], numbers[i + 1], numbers[i + 2]) for i in range(0, len(numbers), 3)])
    return answers


def main() -> None:
    """Compare with the library on many cases, and save some of them with its results."""
    rng = random.Random(20)
    cases = [random_case(rng) for _ in range(20_000)]
    answers = ask(sys.argv[1], cases)
    wrong = [case for case, answer in zip(cases, answers, strict=True) if run(case) != answer]
    print(f"{len(cases)} cases, {sum(map(len, answers))} pairs, {len(wrong)} cases answered differently")
    kept = [{**case, "pairs": answer} for case, answer in zip(cases, answers, strict=True)][:100]
    VECTORS.write_text(json.dumps(kept, separators=(",", ":")).replace('},{"queue"', '},\n{"queue"') + "\n")


if __name__ == "__main__":
    main()
