"""What the face detectors find, and what it costs: ``python -m benchmarks.faces`` writes faces.md. Some minutes."""

from __future__ import annotations

import argparse
import datetime
import os
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from benchmarks.face_photographs import photograph_rows
from benchmarks.support.face_shots import CASES, Shot, angles_of, shots
from benchmarks.support.machine import describe
from benchmarks.support.markdown import paragraph, table
from benchmarks.support.path_shots import CASES as PATH_CASES
from benchmarks.support.path_shots import SIZE, can_path_trace, drawn, path_shots
from runtime.core.values import Box, Pair
from runtime.face.detector import Face, FaceDetector, HaarDetector
from runtime.face.head_pose import head_angles
from runtime.face.landmarks import box_from_landmarks
from runtime.face.scrfd import ScrfdDetector
from runtime.face.tracker import Tracker, TrackRule
from runtime.face.yunet import FACE_PX, MIN_SCORE, YuNetDetector
from runtime.face.yunet_model import packaged_yunet
from runtime.geometry.box_mapping import ScaleMapper
from synthetic import Presentation, render_frame
from synthetic.people.scan import VARIABLE

PAGE = Path(__file__).resolve().parent / "faces.md"
PEOPLE, PATH_TRACED = 40, 6
OFF, ZOOM = 0.25, 1.5
"""A detection counts as the face if its centre is within `OFF` of the true edge and its edge within a factor of
`ZOOM`."""
LEAST_SCORE = 0.3
THRESHOLDS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85)


def is_face(found: Box, true: Box) -> bool:
    dx, dy = found.x + found.w / 2 - true.x - true.w / 2, found.y + found.h / 2 - true.y - true.h / 2
    ratio = found.w / true.w
    return max(abs(dx), abs(dy)) <= OFF * true.w and 1 / ZOOM <= ratio <= ZOOM


def difference(found: Box, true: Box) -> tuple[float, float, float]:
    """Return the errors of the centre in x and y, and of the edge, as fractions of the true edge."""
    edge = true.w
    return (
        (found.x + found.w / 2 - true.x - true.w / 2) / edge,
        (found.y + found.h / 2 - true.y - true.h / 2) / edge,
        found.w / edge - 1,
    )


class RecallTally:
    """Detections by detector, case and modality."""

    def __init__(self, detectors: dict[str, FaceDetector]) -> None:
        self.detectors = detectors
        self.hits: dict[tuple[str, str, str], list[bool]] = defaultdict(list)
        self.false: dict[tuple[str, str], int] = defaultdict(int)
        self.scores: dict[str, list[tuple[float, bool]]] = defaultdict(list)
        self.offs: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
        self.poses: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        self.times: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.counts: dict[tuple[str, str, str], list[bool]] = defaultdict(list)
        self.pictures = 0

    def add(self, shot: Shot) -> None:
        self.pictures += 1
        upright = shot.case in ("frontal", "yaw 15°", "pitch 10°", "glasses")
        for name, detector in self.detectors.items():
            began = time.thread_time()
            found = detector.detect(shot.image)
            self.times[name, "nobody" if shot.empty else "a face"].append((time.thread_time() - began) * 1e3)
            hit = found is not None and not shot.empty and any(is_face(found.box, b) for b in shot.boxes)
            self.counts[name, shot.case, shot.modality].append(found is not None and found.count == shot.count)
            if found is not None and not hit:
                self.false[name, shot.modality] += 1
            if not shot.empty:
                self.hits[name, shot.case, shot.modality].append(hit)
            if found is not None and hit and upright:
                self.offs[name, shot.modality].append(difference(found.box, shot.box))
            if found is not None and found.landmarks is not None and hit and name == "YuNet 320":
                self._pose(shot, found)
        self._score(shot)
        if upright and shot.landmarks.any():
            self.offs["true landmarks", shot.modality].append(difference(box_from_landmarks(shot.landmarks), shot.box))

    def _pose(self, shot: Shot, found: Face) -> None:
        assert found.landmarks is not None
        measured, true = head_angles(found.landmarks), angles_of(shot.forward, shot.roll)
        if measured is not None:
            self.poses[shot.case, shot.modality].append((measured[0] - true[0], measured[1] - true[1]))

    def _score(self, shot: Shot) -> None:
        """Record the score of a detector that accepts almost everything, in order to choose the minimum score."""
        found = EAGER.detect(shot.image)
        hit = found is not None and not shot.empty and any(is_face(found.box, b) for b in shot.boxes)
        kind = "nobody" if shot.empty else shot.modality
        score = 0.0 if found is None or found.confidence is None else found.confidence
        self.scores[kind].append((score, hit))


EAGER = YuNetDetector(packaged_yunet(), LEAST_SCORE)


def recall_rows(tally: RecallTally) -> list[str]:
    names = list(tally.detectors)
    rows = []
    for case in CASES:
        cells = []
        for name in names:
            counts = [tally.hits.get((name, case.name, m)) for m in ("RGB", "IR")]
            cells.append(" / ".join("–" if c is None else f"{sum(c)}" for c in counts))
        if not case.vacant:
            rows.append([case.name, *cells])
    people = len(next(iter(tally.hits.values())))
    false = [f"{tally.false[name, 'RGB']} / {tally.false[name, 'IR']}" for name in names]
    return [
        "## Detection rates",
        "",
        *paragraph(
            f"Number of faces found, of {people} in each row, RGB / IR. A face counts as found if the centre is off by",
            f"at most {OFF} of the true edge, and the edge by at most a factor of {ZOOM}. Any other detection",
            "is a false",
            f"detection; these are counted over all rows and {people} empty rooms. A screen is black in IR and should",
            "not be found there.",
        ),
        *table(["", *names], [*rows, ["**false detections**", *false]]),
    ]


def count_rows(tally: RecallTally) -> list[str]:
    """Return how often the detectors count the people correctly who are about as near as the nearest one."""
    rows = []
    for case in ("frontal", "two people", "somebody behind"):
        cells = [" / ".join(f"{sum(tally.counts[name, case, m])}" for m in ("RGB", "IR")) for name in tally.detectors]
        rows.append([case, *cells])
    return [
        "## Several people",
        "",
        *paragraph(
            "Number of images in which the detector counts the right number of people, RGB / IR. The right number is",
            "two if the second person is as near as the first, and one if the second is two and a half times as far",
            "away. More than one fails the gate `face.count`.",
        ),
        *table(["", *tally.detectors], rows),
    ]


def path_rows(detectors: dict[str, FaceDetector], people: int) -> list[str]:
    """Return recall and error of the head pose on path-traced people, or say why they were not measured."""
    head = ["## Path-traced people", ""]
    if not can_path_trace():
        return [*head, *paragraph("Not measured: Mitsuba or the folder of MakeHuman's assets is missing.")]
    tally = RecallTally(detectors)
    for shot in path_shots(people):
        tally.add(shot)
    dark = sum(drawn(number).lux < 1 for number in range(people))
    rows = []
    for case, _ in PATH_CASES:
        cells = [" / ".join(str(sum(tally.hits[n, case, m])) for m in ("RGB", "IR")) for n in detectors]
        for modality in ("RGB", "IR"):
            errors = np.abs(np.array(tally.poses[case, modality]).reshape(-1, 2))
            cells.append(" / ".join(f"{v:.1f}°" for v in errors.mean(0)) if len(errors) else "–")
        rows.append([case, *cells])
    return [
        *head,
        *paragraph(
            f"Number of faces found, of {people} in each row, RGB / IR. The images have {SIZE}×{SIZE} pixels,",
            "2.8 times",
            "the edge of the face box. They show people at 600 mm with photographic skins, hair, glasses and hats. The",
            "last two columns have the mean error of yaw and pitch from YuNet 320's landmarks, relative to",
            "the line from",
            f"the face to the lens. Each person has another light. {dark} of them had less than 1 lux, in",
            "which RGB shows",
            "almost nothing.",
        ),
        *table(["", *detectors, "RGB, yaw / pitch", "IR, yaw / pitch"], rows),
    ]


def score_rows(tally: RecallTally) -> list[str]:
    rows = []
    for threshold in THRESHOLDS:
        cells = []
        for kind in ("RGB", "IR"):
            found = tally.scores[kind]
            cells.append(f"{sum(h and s >= threshold for s, h in found) / len(found):.1%}")
        wrong = sum(s >= threshold and not h for kind in ("RGB", "IR") for s, h in tally.scores[kind])
        empty = sum(s >= threshold for s, _ in tally.scores["nobody"])
        rows.append([f"{threshold}", *cells, str(wrong), str(empty)])
    return [
        "## The lowest accepted score",
        "",
        *paragraph(
            "Detection rates of YuNet 320 over all rows, by the lowest score that is accepted as a face. The",
            "rate in IR",
            f"includes the screens, which show no face there. The default is {MIN_SCORE}.",
        ),
        *table(
            [
                "lowest score",
                "found, RGB",
                "found, IR",
                "false detections beside a face",
                "false detections in empty rooms",
            ],
            rows,
        ),
    ]


def box_rows(tally: RecallTally) -> list[str]:
    rows = []
    for name in (*tally.detectors, "true landmarks"):
        for modality in ("RGB", "IR"):
            off = np.array(tally.offs[name, modality])
            middle, spread = np.median(off, 0), np.percentile(np.abs(off), 90, 0)
            rows.append([name, modality, *(f"{m:+.1%} ({s:.1%})" for m, s in zip(middle, spread, strict=True))])
    return [
        "## The box",
        "",
        *paragraph(
            "Difference between a detector's box and the box by which training crops (150 mm on a life-size",
            "head), as a",
            "fraction of that box's edge: the median and, in brackets, the 90th percentile of the absolute difference,",
            "over the rows frontal, yaw 15°, pitch 10° and glasses. The limit for each median is 5 %. The",
            "last two rows",
            "apply the rule that turns landmarks into a box to the simulation's true landmarks. SCRFD's",
            "landmarks use the",
            "same rule. Most of the scatter of the edges comes from heads of different sizes, while the true box has",
            "always the same size.",
        ),
        *table(["detector", "", "x", "y", "edge"], rows),
    ]


def pose_rows(tally: RecallTally) -> list[str]:
    rows = []
    for case in CASES:
        if (case.name, "RGB") not in tally.poses or case.species != "bona_fide":
            continue
        cells = []
        for modality in ("RGB", "IR"):
            errors = np.abs(np.array(tally.poses[case.name, modality]))
            cells += [f"{v:.1f}° ({p:.1f}°)" for v, p in zip(errors.mean(0), np.percentile(errors, 90, 0), strict=True)]
        rows.append([case.name, *cells])
    return [
        "## Head pose",
        "",
        *paragraph(
            "Error of yaw and pitch from YuNet's five landmarks: the mean and, in brackets, the 90th percentile. The",
            "renderer has no perspective, which would increase the error for a near face.",
        ),
        *table(["", "RGB, yaw", "RGB, pitch", "IR, yaw", "IR, pitch"], rows),
    ]


def time_rows(tally: RecallTally) -> list[str]:
    rows = [
        [name, *(f"{np.median(tally.times[name, what]):.1f}" for what in ("a face", "nobody"))]
        for name in tally.detectors
    ]
    return [
        "## Time",
        "",
        *paragraph("Processor time of one thread for an image of 640×480, in ms. The detectors ran in turns; medians:"),
        *table(["detector", "with a face", "with nobody"], rows),
    ]


def stream_rows(detectors: dict[str, FaceDetector]) -> list[str]:
    """Measure the cost of tracking in a stream for several values of ``search_near_every``."""
    frames = [render_frame(Presentation(seed=3, subject=9801, frame=k)) for k in range(6)]
    rows = []
    for name, near in (("Haar", 10), *(("YuNet 320", near) for near in (20, 10, 5, 1))):
        tracker = Tracker(("rgb", "ir"), detectors[name], ScaleMapper(), TrackRule(search_near_every=near))
        times = []
        for number in range(240):
            frame = frames[min(number % 10, 10 - number % 10)]
            began = time.thread_time()
            tracker.find(Pair(rgb=frame.rgb, ir=frame.ir), 10**12 + number * 33_333_333)
            times.append((time.thread_time() - began) * 1e3)
        cells = (np.mean(times), np.median(times), np.percentile(times, 99))
        rows.append([name, str(near), *(f"{value:.2f}" for value in cells)])
    return [
        "## In a stream",
        "",
        *paragraph(
            "Processor time, in ms, for finding the face of a simulated person in each of 240 pairs. The detector",
            "searches near the last position in both images after the given number of pairs, and in the whole",
            "image after",
            f"{TrackRule().search_whole_every}. The default is {TrackRule().search_near_every}. Searching more often",
            "costs more, and the 99th percentile is always that of a search of the whole image.",
        ),
        *table(["detector", "search near the last position every", "mean", "median", "99th percentile"], rows),
    ]


def main() -> None:
    """Measure and write the page."""
    cv2.setNumThreads(1)
    model = packaged_yunet()
    detectors: dict[str, FaceDetector] = {"Haar": HaarDetector()}
    detectors |= {f"YuNet {edge}": YuNetDetector(model, edge=edge) for edge in (320, 480, 640)}
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--people", type=int, default=PEOPLE, help="heads in each row")
    options.add_argument("--beside", action="store_true", help="say that another job ran at the same time")
    options.add_argument("--page", type=Path, default=PAGE, help="where the page is written")
    options.add_argument("--path-traced", type=int, default=PATH_TRACED, help="path-traced people in each row")
    options.add_argument("--scrfd", type=Path, help="ONNX file of an SCRFD with landmarks, to be measured too")
    chosen = options.parse_args()
    if chosen.scrfd is not None:
        detectors["SCRFD"] = ScrfdDetector(chosen.scrfd.read_bytes())
    tally = RecallTally(detectors)
    for shot in shots(chosen.people):
        tally.add(shot)
    heads = "every second head is scan-derived, the others analytic" if os.environ.get(VARIABLE) else "analytic heads"
    lines = [
        "# Face detectors",
        "",
        *paragraph(
            "This page compares face detectors. It was measured on",
            f"{datetime.date.today().isoformat()} with `python -m benchmarks.faces`, on {tally.pictures}",
            "rendered images",
            f"of 640×480 pixels ({heads}) and on the photographs named below. YuNet's number is the longest",
            "edge of the",
            "image that it searches first. If it finds nothing, it searches once more in a larger image, in",
            "which a face",
            f"of 64 pixels has {FACE_PX}. Dark images are brightened before the search.",
            "SCRFD's file cannot be shipped; `--scrfd` measures your own."
            if chosen.scrfd is None
            else f"SCRFD is {chosen.scrfd.name}.",
            *(["Another job ran beside it, so compare the times only with each other."] if chosen.beside else []),
        ),
        *(f"- {name}: {value}" for name, value in describe().items() if name in ("processor", "cores", "python")),
        f"- opencv: {cv2.__version__}",
        "",
    ]
    sections = [recall_rows, count_rows, score_rows, box_rows, pose_rows, time_rows]
    for section in sections:
        lines += [*section(tally), ""]
    lines += [*path_rows(detectors, chosen.path_traced), ""]
    lines += [*stream_rows(detectors), "", *photograph_rows(detectors)]
    chosen.page.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
