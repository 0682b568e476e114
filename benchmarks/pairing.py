"""Compare the pairing rules of several projects on the same streams.

``python -m benchmarks.pairing`` writes pairing.md. Recall is the number of pairs within the limit, divided by the
largest number of one-to-one pairs that can be formed from the same frames, which is computed offline (`most_pairs`).
Delay is the time from the arrival of the later frame of a pair to the output of the pair.
"""

from __future__ import annotations

import datetime
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.support.machine import describe
from benchmarks.support.rules import AdsnRule, Approximate, HalfGap, MessageFiltersPython, OldestReplaced, Rule, Times
from runtime.core.units import MS
from runtime.core.values import Frame, Modality
from runtime.pairing.pairer import Pairer

PAGE = Path(__file__).resolve().parent / "pairing.md"
FRAMES = 3000
SEEDS = (1, 2, 3)
EVENTS_LIMIT = 200_000
_PICTURE = np.zeros((1, 1, 1), np.uint8)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Two streams. Times are in milliseconds.

    ``jitter``: standard deviation of each timestamp. ``drops``: fraction of frames lost in each stream. ``late``:
    additional delay of the first stream, for decoding.
    """

    name: str
    limit: float = 10
    periods: tuple[float, float] = (100 / 3, 100 / 3)
    phase: float = 4
    jitter: float = 0.2
    ppm: float = 0
    drops: float = 0
    late: float = 0

    def frames(self, seed: int) -> tuple[list[Frame], list[Frame]]:
        """Return frames of both streams in capture order."""
        rng = random.Random(seed)
        made: list[list[Frame]] = [[], []]
        streams: tuple[Modality, ...] = ("rgb", "ir")
        for number, modality in enumerate(streams):
            arrived = 0
            period = self.periods[number] * (1 + self.ppm * 1e-6 * number)
            for k in range(int(FRAMES * self.periods[0] / self.periods[number])):
                timestamp = int((1000 + k * period + number * self.phase + rng.gauss(0, self.jitter)) * MS)
                delay = int((8 + rng.expovariate(1.0) + self.late * (1 - number)) * MS)
                arrived = max(arrived + 1, timestamp + delay)
                if rng.random() >= self.drops:
                    frame = Frame(modality, _PICTURE, timestamp, arrived, k, "synthetic", lit="lit")
                    made[number].append(frame)
        return made[0], made[1]


SCENARIOS = (
    Scenario("equal rates, 4 ms apart"),
    Scenario("equal rates, colour decoded 40 ms later", late=40),
    Scenario("20 % of both streams dropped", drops=0.2),
    Scenario("30/15 a second (lit frames), 6 ms", limit=20, periods=(100 / 3, 200 / 3), phase=6, jitter=0.3),
    Scenario("30/15 a second (lit frames), 19 ms", limit=20, periods=(100 / 3, 200 / 3), phase=19, jitter=0.3),
    Scenario("near half a period: 15 ms, jitter 2 ms", limit=20, phase=15, jitter=2),
    Scenario("the same, 20 % dropped", limit=20, phase=15, jitter=2, drops=0.2),
    Scenario("300 ppm of drift", limit=20, phase=0, jitter=0.5, ppm=300),
    Scenario("60 a second, 7 ms, jitter 1 ms", periods=(50 / 3, 50 / 3), phase=7, jitter=1),
    Scenario("60 a second, 5.5 ms", periods=(50 / 3, 50 / 3), phase=5.5),
    Scenario("30/25 a second", periods=(100 / 3, 40), phase=0),
)


def rules(scenario: Scenario) -> dict[str, Callable[[], Rule]]:
    """Return all rules, with the limit of the scenario for those that have a limit."""
    limit = int(scenario.limit * MS)
    first, second = (int(0.6 * period * MS) for period in scenario.periods)
    return {
        "Pairer": lambda: AdsnRule(limit),
        "ApproximateTime": lambda: Approximate(limit),
        "ApproximateTime, rate bounds": lambda: Approximate(limit, (first, second)),
        "message_filters, Python": lambda: MessageFiltersPython(limit),
        "DepthAI": lambda: OldestReplaced(limit),
        "librealsense": lambda: HalfGap(int(max(scenario.periods) * MS)),
    }


def most_pairs(first: Sequence[int], second: Sequence[int], limit: int) -> int:
    """Return the largest number of one-to-one pairs within the limit.

    Always pairing the two oldest frames that can be paired is optimal: exchanging partners never gives more pairs.
    """
    i = j = count = 0
    while i < len(first) and j < len(second):
        difference = second[j] - first[i]
        if abs(difference) <= limit:
            count, i, j = count + 1, i + 1, j + 1
        elif difference > 0:
            i += 1
        else:
            j += 1
    return count


@dataclass(frozen=True, slots=True)
class Outcome:
    """Totals over all seeds. Times are in milliseconds. ``beyond``: number of pairs further apart than the limit."""

    recall: float
    mean_skew: float
    max_skew: float
    mean_delay: float
    max_delay: float
    beyond: int


def play(rule: Rule, first: Sequence[Frame], second: Sequence[Frame]) -> list[tuple[Times, int]]:
    """Feed both streams in arrival order. Return each pair with its time of output."""
    out: list[tuple[Times, int]] = []
    for frame in sorted((*first, *second), key=lambda f: f.t_arrival_ns):
        due = rule.due_ns()
        if due is not None and due < frame.t_arrival_ns:
            out += [(pair, due) for pair in rule.ask(due)]
        out += [(pair, frame.t_arrival_ns) for pair in rule.feed(int(frame.modality == "ir"), frame)]
    return out


def measure(scenario: Scenario, make: Callable[[], Rule]) -> Outcome:
    """Run one rule on one scenario."""
    limit = int(scenario.limit * MS)
    possible = within = beyond = 0
    skews, delays = [], []
    for seed in SEEDS:
        first, second = scenario.frames(seed)
        arrivals = [{f.t_capture_ns: f.t_arrival_ns for f in stream} for stream in (first, second)]
        possible += most_pairs(sorted(arrivals[0]), sorted(arrivals[1]), limit)
        for (a, b), moment in play(make(), first, second):
            within += abs(b - a) <= limit
            beyond += abs(b - a) > limit
            skews.append(abs(b - a) / MS)
            delays.append((moment - max(arrivals[0][a], arrivals[1][b])) / MS)
    return Outcome(
        within / possible, statistics.fmean(skews), max(skews), statistics.fmean(delays), max(delays), beyond
    )


def events_per_second(scenario: Scenario) -> float:
    """Return the frames per second that `Pairer` processes on one thread, as the median of seven runs."""
    first, second = scenario.frames(1)
    events = sorted((*first, *second), key=lambda f: f.t_arrival_ns)
    speeds = []
    for _ in range(7):
        push = Pairer(("rgb", "ir"), max_skew_ns=int(scenario.limit * MS)).push
        begin = time.perf_counter()
        for frame in events:
            push(frame)
        speeds.append(len(events) / (time.perf_counter() - begin))
    return statistics.median(speeds)


def page() -> str:
    """Return the page."""
    about = describe()
    lines = [
        "# Pairing",
        "",
        f"Measured on {datetime.date.today().isoformat()} with `python -m benchmarks.pairing`; {about['processor']}, "
        f"Python {about['python']}.",
        "",
        f"This page compares adsn's `Pairer` with the rules of other projects. Each situation has {len(SEEDS)} × "
        f"{FRAMES} frames of the first",
        "stream, and all rules get the same frames. The other rules are reimplemented from their descriptions",
        "(`benchmarks/support/rules.py`); ApproximateTime was compared with the real library on 20,000 cases.",
        "Each rule",
        "uses the situation's limit, except librealsense's, which has no limit.",
        "",
        "- *Recall*: number of pairs within the limit, as a share of the largest number that any one-to-one",
        "choice could",
        "  form from these frames. That number is computed offline.",
        "- *Delay*: time from the arrival of a pair's later frame until the pair is emitted, mean and largest.",
        "- *Beyond*: number of pairs further apart than the limit.",
    ]
    missed: list[str] = []
    for scenario in SCENARIOS:
        rows, misses = _situation(scenario)
        lines += rows
        missed += misses
    speeds = {s.name: events_per_second(s) for s in (SCENARIOS[0], SCENARIOS[6], SCENARIOS[-1])}
    lines += ["", "## Speed", "", "| situation | frames a second through `Pairer` |", "| --- | --- |"]
    lines += [f"| {name} | {speed:,.0f} |" for name, speed in speeds.items()]
    missed += [
        f"{name}: {speed:,.0f} frames a second, fewer than {EVENTS_LIMIT:,}"
        for name, speed in speeds.items()
        if speed < EVENTS_LIMIT
    ]
    lines += [
        "",
        "## Against the goals",
        "",
        "In every situation, `Pairer` should have at least the recall of the other rules (to 0.05 points), no pair "
        "beyond the limit, and a delay of at most 0.6 of the faster period. It should process "
        f"{EVENTS_LIMIT:,} frames per second.",
        "",
        *([f"- Missed: {line}." for line in missed] or ["All met."]),
    ]
    return "\n".join(lines) + "\n"


def _situation(scenario: Scenario) -> tuple[list[str], list[str]]:
    """Return the table of one situation, and the goals that `Pairer` missed in it."""
    period = min(scenario.periods)
    lines = [
        "",
        f"## {scenario.name[0].upper()}{scenario.name[1:]}",
        "",
        f"Limit {scenario.limit:g} ms.",
        "",
        "| rule | recall | mean skew | max skew | delay mean / max | beyond |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    found = {name: measure(scenario, make) for name, make in rules(scenario).items()}
    for name, o in found.items():
        lines.append(
            f"| {name} | {o.recall:.1%} | {o.mean_skew:.1f} ms | {o.max_skew:.1f} ms | "
            f"{o.mean_delay:.1f} / {o.max_delay:.1f} ms | {o.beyond or ''} |"
        )
    ours, others = found["Pairer"], {n: o for n, o in found.items() if n != "Pairer"}
    better = {name: o for name, o in others.items() if o.recall > ours.recall + 5e-4}
    missed = [
        f"{scenario.name}: {name} makes {o.recall:.1%} of the pairs, `Pairer` {ours.recall:.1%}, at a mean skew of "
        f"{o.mean_skew:.1f} against {ours.mean_skew:.1f} ms"
        for name, o in better.items()
    ]
    if ours.beyond:
        missed.append(f"{scenario.name}: {ours.beyond} pairs beyond the limit")
    if ours.max_delay > 0.6 * period + 0.01:
        missed.append(f"{scenario.name}: a pair came {ours.max_delay:.1f} ms late, more than 0.6 of a period")
    return lines, missed


def main() -> None:
    """Measure and write the page."""
    text = page()
    PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
