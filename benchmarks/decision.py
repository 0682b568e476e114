"""Measure decisions over several pairs, the strobe check and the check for copied IR, on simulated presentations.

``python -m benchmarks.decision [CACHE]`` writes ``benchmarks/decision.md``. Presentations that are missing in the
folder CACHE (default: a folder in the user's cache) are rendered, so the program can be stopped and started again. On
two cores it takes about 25 minutes the first time and 3 minutes after that.
"""

from __future__ import annotations

import collections
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import platformdirs
from numpy.typing import NDArray

from adsn.metrics import Rate
from benchmarks.support.machine import describe
from benchmarks.support.presentations import PAIR_NS, PlannedPresentation, code_digest, planned, sequences
from benchmarks.support.presentations import Sequence as Shown
from runtime.core.errors import NoFace
from runtime.core.values import Box, Pair
from runtime.face.open import detector_info, open_detector
from runtime.face.pair_detection import find_face, mean_level
from runtime.geometry.box_mapping import ScaleMapper
from runtime.imaging.crop import crop
from runtime.liveness.active_light import ActiveLightRule, compare
from runtime.liveness.decision import StrobeResponse, decide
from runtime.liveness.evidence import Evidence, EvidenceRule, Observation
from runtime.liveness.grey_copy import copy_correlation
from runtime.liveness.open import LoadedModel, default_bundle, open_pipeline
from runtime.liveness.quality import FACE_RULE, blur_check, copy_check, failed_codes, ir_checks, rgb_checks
from synthetic import SPECIES, Presentation, render_frame, render_patch

FAMILIES, BONA_FIDE, PER_ATTACK, PAIRS = ("A", "B"), 120, 25, 20
COPIES, FRAMES = 1500, 150
RULE = EvidenceRule(deadline_ns=PAIRS * PAIR_NS)
OUT = Path(__file__).with_suffix(".md")
WAYS = ("still", "sequential", "sequential, light")
Picture = NDArray[np.uint8]
IrChange = Callable[[Picture, Picture, int], Picture]
"""Function from RGB crops, IR crops and the number of a presentation to the IR crops that replace them."""


def unchanged(rgb: Picture, ir: Picture, number: int) -> Picture:
    """Return the IR crops."""
    return ir


def grey_of(rgb: Picture) -> Picture:
    """Return the luminance [F, S, S, 1] of RGB images [F, S, S, 3]."""
    return np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None] for image in rgb]).astype(np.uint8)


def toned(ir: Picture, seed: int) -> Picture:
    """Return the images with a different tone curve and contrast, a shift of one to three pixels, blur and noise.

    An attacker who knows about the check would disguise copies in this way.
    """
    rng = np.random.default_rng(seed)
    gamma, gain = rng.uniform(0.6, 1.4), rng.uniform(0.6, 1.2)
    step = tuple(int(v) for v in rng.integers(-3, 4, 2))
    out = []
    for image in ir:
        changed = (image / 255.0) ** gamma * gain * 255
        changed = cv2.GaussianBlur(np.roll(changed, step, (0, 1)), (0, 0), 0.8)[:, :, None]
        out.append((changed + rng.normal(0, 2, changed.shape)).clip(0, 255).astype(np.uint8))
    return np.stack(out)


@dataclass(slots=True)
class ScoredPresentation:
    """The scored pairs of a presentation: scores [F, 3], and for each pair the failed gates and the strobe response."""

    what: PlannedPresentation
    scores: NDArray[np.float32]
    failed: list[tuple[str, ...]]
    strobe: list[StrobeResponse]
    rgb_means: list[float]


def score_presentation(
    loaded: LoadedModel, shown: Shown, cache: Path, name: str, change: IrChange, *, gate: bool
) -> ScoredPresentation:
    """Score a presentation with changed IR crops. ``gate``: whether to run the check for copies."""
    path = cache / f"{shown.what.family}-{shown.what.species}-{shown.what.number}-{name}.npy"
    if path.exists():
        scores = np.load(path)
    else:
        ir = change(shown.rgb, shown.ir, shown.what.number)
        result = loaded.pipeline.engine.infer({"rgb": shown.rgb, "ir": ir})
        scores = np.concatenate([result.score[:, None], result.stream_scores], 1)
        beside = path.with_suffix(".part.npy")
        np.save(beside, scores)
        beside.replace(path)
    limits, failed = loaded.pipeline.limits, []
    face_ir = change(shown.face_rgb, shown.face_ir, shown.what.number)
    for rgb_crop, ir_crop in zip(shown.face_rgb, face_ir, strict=True):
        checks = [*rgb_checks(mean_level(rgb_crop), limits, alone_in_the_dark=False), blur_check(rgb_crop, limits)]
        checks += ir_checks(ir_crop, None, "lit", limits)
        failed.append(failed_codes([*checks, *([copy_check(rgb_crop, ir_crop, limits)] if gate else [])]))
    unknown: list[StrobeResponse] = ["unknown"] * len(scores)
    return ScoredPresentation(shown.what, scores, failed, unknown, [float(face.mean()) for face in shown.face_rgb])


def decide_first_pair(loaded: LoadedModel, seen: ScoredPresentation) -> str:
    """Return the decision on the first pair alone."""
    score, *streams = (float(v) for v in seen.scores[0])
    pipeline = loaded.pipeline
    return decide(score, streams, pipeline.modalities, pipeline.point, seen.failed[0], seen.strobe[0]).decision


def decide_sequentially(loaded: LoadedModel, seen: ScoredPresentation, rule: EvidenceRule = RULE) -> tuple[str, int]:
    """Return the decision over several pairs, and the number of pairs that it took."""
    evidence = Evidence(loaded.pipeline.point, loaded.pipeline.modalities, rule)
    box = Box(100, 100, 150, 150)
    for number, scores in enumerate(seen.scores):
        streams = (None if seen.rgb_means[number] < 10 else float(scores[1]), float(scores[2]))
        verdict = evidence.add(
            Observation(
                number, number * PAIR_NS, 1, float(scores[0]), streams, seen.failed[number], box, seen.strobe[number]
            )
        )
        if verdict is not None:
            return verdict.decision, number + 1
    verdict = evidence.expire(RULE.deadline_ns * 10)
    assert verdict is not None
    return verdict.decision, len(seen.scores)


def answers(shown: Shown, lit: Picture, dark: Picture) -> list[StrobeResponse]:
    """Return the strobe response of each pair. ``lit``, ``dark``: views, uint8 [F, h, w]."""
    boxes = [Box(*map(float, box)) for box in shown.scene_box]
    return [
        compare(a[:, :, None], b[:, :, None], box, ActiveLightRule())
        for a, b, box in zip(lit, dark, boxes, strict=True)
    ]


@dataclass(slots=True)
class DecisionTally:
    """Number of decisions by camera family and kind of presentation, for each decision method."""

    counts: dict[tuple[str, str, str], collections.Counter[str]] = field(
        default_factory=lambda: collections.defaultdict(collections.Counter)
    )
    pairs: dict[tuple[str, str, str], list[int]] = field(default_factory=lambda: collections.defaultdict(list))

    def add(self, way: str, family: str, species_name: str, decision: str, pairs: int = 1) -> None:
        self.counts[way, family, species_name][decision] += 1
        self.pairs[way, family, species_name].append(pairs)

    def row(self, way: str, family: str, species_name: str) -> str:
        count = self.counts[way, family, species_name]
        return f"{count['live']} / {count['spoof']} / {count['uncertain']}"


INJECTED: dict[str, tuple[IrChange, Callable[[Shown], tuple[Picture, Picture]]]] = {
    # What replaces the IR crops, and the lit and dark views of the injected stream.
    "grey copy": (lambda rgb, ir, number: grey_of(rgb), lambda s: (s.scene_lit, s.scene_lit)),
    "grey copy, changed": (lambda rgb, ir, number: toned(grey_of(rgb), number), lambda s: (s.scene_lit, s.scene_lit)),
    "red channel": (
        lambda rgb, ir, number: np.ascontiguousarray(rgb[:, :, :, :1]),
        lambda s: (s.scene_lit, s.scene_lit),
    ),
    "recorded infrared, steady": (unchanged, lambda s: (s.scene_lit, s.scene_lit)),
    "recorded infrared, dimmed in time": (
        unchanged,
        lambda s: (s.scene_lit, (s.scene_lit * 0.4).astype(np.uint8)),
    ),
    "recorded infrared, lit and dark": (unchanged, lambda s: (s.scene_lit, s.scene_dark)),
}


def simulate(loaded: LoadedModel, cache: Path) -> tuple[DecisionTally, list[ScoredPresentation]]:
    """Decide on every presentation with every method."""
    tally, people = DecisionTally(), []
    scores = cache / f"scores-{loaded.model_sha256[:12]}-{code_digest()}"
    scores.mkdir(parents=True, exist_ok=True)
    for shown in sequences(planned(FAMILIES, BONA_FIDE, PER_ATTACK), PAIRS, loaded.pipeline.rule, cache):
        family, species_name = shown.what.family, shown.what.species
        strobe = answers(shown, shown.scene_lit, shown.scene_dark)
        seen = score_presentation(loaded, shown, scores, "own", unchanged, gate=True)
        lit = ScoredPresentation(seen.what, seen.scores, seen.failed, strobe, seen.rgb_means)
        tally.add("still", family, species_name, decide_first_pair(loaded, seen))
        tally.add("sequential", family, species_name, *decide_sequentially(loaded, seen))
        tally.add("sequential, light", family, species_name, *decide_sequentially(loaded, lit))
        for answer, count in collections.Counter(strobe).items():
            tally.counts["answers", family, species_name][answer] += count
        if species_name != SPECIES[0]:
            continue
        people.append(lit)
        for name, (change, views) in INJECTED.items():
            fed = answers(shown, *views(shown))
            key = name.replace(" ", "-").replace(",", "")
            plain = score_presentation(loaded, shown, scores, key, change, gate=False)
            gated = score_presentation(loaded, shown, scores, key, change, gate=True)
            tally.add("still, no check", family, name, decide_first_pair(loaded, plain))
            tally.add("still", family, name, decide_first_pair(loaded, gated))
            tally.add("sequential", family, name, *decide_sequentially(loaded, gated))
            gated.strobe = fed
            tally.add("sequential, light", family, name, *decide_sequentially(loaded, gated))
    return tally, people


def correlation(people: Sequence[ScoredPresentation], lags: int = 6) -> tuple[list[float], float, float]:
    """Return the autocorrelation of a person's log-odds at lags of one pair and more, and two variances.

    The autocorrelation is corrected for the mean, which is computed over only a few pairs. The variances are those
    within a presentation and between presentations.
    """
    odds = [np.log(p / (1 - p)) for p in (np.clip(s.scores[:, 0].astype(float), 1e-4, 1 - 1e-4) for s in people)]
    centred = [v - v.mean() for v in odds]
    within = float(np.mean([(c**2).mean() for c in centred]))
    between = float(np.var([v.mean() for v in odds]))
    raw = [float(np.mean([(c[k:] * c[:-k]).mean() for c in centred])) / within for k in range(1, lags + 1)]
    # Subtracting the mean of n correlated pairs lowers every lag by the variance of that mean, relative to the total.
    n = len(odds[0])
    share = (1 + 2 * sum(max(r, 0) for r in raw)) / n
    return [r * (1 - share) + share for r in raw], within, between


def copy_rates() -> dict[str, list[float]]:
    """Return `copy_correlation` by camera family, on people who were not used to choose the threshold."""
    found: dict[str, list[float]] = {}
    rng = np.random.default_rng(7)
    for family in FAMILIES:
        found[family] = []
        for number in range(COPIES):
            r = render_patch(Presentation(seed=92, subject=6000 + number, family=family, number=number))
            shift, scale = rng.normal(0, 0.03, 2), float(np.exp(rng.normal(0, 0.03)))
            boxes = [Box(x + shift[0] * w, y + shift[1] * h, w * scale, h * scale) for x, y, w, h in (r.box, r.ir_box)]
            rgb, ir = crop(r.rgb, boxes[0], FACE_RULE), crop(r.ir, boxes[1], FACE_RULE)
            if rgb.mean() >= 25:
                found[family].append(copy_correlation(rgb, ir))
    return found


def agreement() -> Iterator[tuple[str, str, str]]:
    """Yield camera family, species and result of the face search in whole frames.

    The result says where a face was found, and whether the other image agrees.
    """
    detector = open_detector()
    for family in FAMILIES:
        for species in (SPECIES[0], "print_matte", "replay_screen"):
            for number in range(FRAMES if species == SPECIES[0] else 20):
                r = render_frame(
                    Presentation(seed=93, subject=7000 + number, species=species, family=family, number=number)
                )
                try:
                    found = find_face(Pair(rgb=r.rgb, ir=r.ir), ("rgb", "ir"), detector, ScaleMapper())
                except NoFace:
                    yield family, species, "no face"
                    continue
                failed = failed_codes(c for c in found.checks if c.name != "face.count")
                led = "" if found.detected_in == "rgb" else "infrared leads, "
                yield family, species, led + (failed[0] if failed else "agreed")


def main() -> None:
    """Measure and write the page."""
    cache = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(platformdirs.user_cache_dir("adsn")) / "decision"
    cv2.setNumThreads(1)
    loaded = open_pipeline(default_bundle())
    tally, people = simulate(loaded, cache)
    lines = report(loaded, tally, people, copy_rates(), collections.Counter(agreement()))
    OUT.write_text("\n".join(lines) + "\n")
    print(f"wrote {OUT}")


def report(
    loaded: LoadedModel,
    tally: DecisionTally,
    people: list[ScoredPresentation],
    copies: dict[str, list[float]],
    agreed: dict[Any, int],
) -> list[str]:
    """Return the page."""
    lines = [
        "# Decisions, simulated",
        "",
        "This page counts decisions on simulated presentations. `python -m benchmarks.decision` writes it. The people",
        f"and instruments are not in the training data: {BONA_FIDE} people and {PER_ATTACK} presentations of every",
        f"instrument in front of the rigs of each family. A presentation has {PAIRS} pairs, one every",
        f"{PAIR_NS / 1e6:.1f} ms, as with an illuminator that strobes at 30 frames per second. The model is",
        f"{loaded.manifest.name} {loaded.manifest.version} in INT8, with the threshold",
        f"{loaded.pipeline.point.threshold:.3f}. The counts describe the simulation and say nothing about real people",
        "or attacks. Each cell has the numbers of `live`, `spoof` and `uncertain`.",
        "",
        *(f"- {name}: {value}" for name, value in describe().items()),
    ]
    lines += [*_decisions(tally), *_times(tally), *_injected(tally)]
    lines += _copies(copies, loaded.pipeline.limits.max_copied)
    lags, within, between = correlation(people)
    lines += [
        "",
        "## Correlation of consecutive pairs",
        "",
        f"The deviations of a person's log-odds from their own mean have correlations of "
        f"{', '.join(f'{v:.2f}' for v in lags)} at lags of one to {len(lags)} pairs. The variance is "
        f"{within:.3f} within "
        f"a presentation and {between:.3f} between presentations. Most of the variance is common to the pairs of a "
        "presentation, so more pairs cannot remove it.",
        "",
        f"## Whole frames: faces detected by the default detector ({detector_info(open_detector()).kind}), and whether "
        "infrared agrees",
        "",
        "| family | presented | result | frames |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {a} | {b} | {c} | {n} |" for (a, b, c), n in sorted(agreed.items())]
    return lines


def _decisions(tally: DecisionTally) -> list[str]:
    lines: list[str] = []
    for family in FAMILIES:
        lines += [
            "",
            f"## Family {family}: live / spoof / uncertain",
            "",
            "| presented | first pair alone | over several pairs | with active light | results of active light |",
            "| --- | --- | --- | --- | --- |",
        ]
        for species_name in SPECIES:
            cells = [tally.row(way, family, species_name) for way in WAYS]
            told = tally.counts["answers", family, species_name]
            total = sum(told.values())
            shares = ", ".join(f"{name} {told[name] / total:.1%}" for name in ("follows", "mismatch", "unknown"))
            lines.append(f"| {species_name} | {' | '.join(cells)} | {shares} |")
    return lines


def _times(tally: DecisionTally) -> list[str]:
    lines = [
        "",
        "## Time to a decision",
        "",
        "| family | presented | median | 95th percentile |",
        "| --- | --- | --- | --- |",
    ]
    for family in FAMILIES:
        for group, species_list in (("people", SPECIES[:1]), ("attacks", SPECIES[1:])):
            taken = [n for species_name in species_list for n in tally.pairs["sequential", family, species_name]]
            seconds = [(n - 1) * PAIR_NS / 1e9 for n in taken]
            tail = statistics.quantiles(seconds, n=20, method="inclusive")[18]
            lines.append(f"| {family} | {group} | {statistics.median(seconds):.2f} s | {tail:.2f} s |")
    return lines


def _injected(tally: DecisionTally) -> list[str]:
    lines = [
        "",
        "Times are measured from the first pair. Presentations without a decision count as",
        f"{(PAIRS - 1) * PAIR_NS / 1e9:.2f} s.",
        "",
        "## Injected: RGB images of people with other infrared images: live / spoof / uncertain",
        "",
        "| family | infrared | first pair, without the gate `ir.copied` | first pair | over several pairs "
        "| with active light |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for family in FAMILIES:
        for name in INJECTED:
            cells = [tally.row(way, family, name) for way in ("still, no check", *WAYS)]
            lines.append(f"| {family} | {name} | {' | '.join(cells)} |")
    return lines


def _copies(copies: dict[str, list[float]], limit: float) -> list[str]:
    lines = ["", "## People mistaken for copies", "", "| family | above the limit | largest |", "| --- | --- | --- |"]
    for family, values in copies.items():
        rate = Rate(sum(v > limit for v in values), len(values))
        low, high = rate.interval
        lines.append(
            f"| {family} | {rate.errors} of {rate.trials} (95 %: {low:.2%} to {high:.2%}), limit {limit} "
            f"| {max(values):.3f} |"
        )
    return lines


if __name__ == "__main__":
    main()
