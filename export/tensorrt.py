"""``adsn-export --engine``: TensorRT's engine for this machine, built with progress and measured once more.

The building itself is `runtime.engines.tensorrt.build`, because a kiosk whose engine has become stale must be able to
build one without this tool. DLA is left out: before TensorRT 11.4 it wants implicit INT8 with a calibrator, which this
project does not use, because nothing about such an engine can be read in its graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import Progress, TaskID

from adsn.cli.train import bars
from adsn.datasets.pairs import PairDataset
from adsn.evaluation.evaluate import engine_scorer, score_set
from export.parity import Comparison
from runtime.bundle.manifest import Bundle, open_bundle
from runtime.engines.base import Engine
from runtime.engines.tensorrt.cache import EngineCache
from runtime.engines.tensorrt.open import open_tensorrt
from runtime.engines.tensorrt.versions import BuildSettings, PhaseReporter, artifact_for, generation_of, import_tensorrt
from runtime.liveness.open import open_engine


def require_tensorrt() -> Literal["int8-trt", "int8-trt11"]:
    """Raise now, rather than after minutes of work, when ``--engine`` cannot end well; returns the artifact that the
    installed TensorRT takes.

    Raises:
        EngineUnavailable: no driver, no GPU, no TensorRT or one that is not served.
        ConfigError: the engine cache cannot be used.
    """
    trt = import_tensorrt()
    EngineCache()
    return artifact_for(generation_of(trt.__version__))


@contextmanager
def shown(progress: Progress) -> Iterator[PhaseReporter]:
    """A bar for each phase of a build that TensorRT tells of (10 and later)."""
    tasks: dict[str, TaskID] = {}

    def report(phase: str, done: int, steps: int) -> None:
        if phase not in tasks:
            tasks[phase] = progress.add_task(f"TensorRT: {phase}", total=max(steps, 1), note="")
        progress.update(tasks[phase], completed=done if steps else 1)

    waiting = progress.add_task("TensorRT engine", total=None, note="a few minutes on a small device")
    yield report
    progress.update(waiting, total=1, completed=1, note="")


def open_built(bundle: Bundle, console: Console, settings: BuildSettings | None = None) -> Engine:
    """The bundle's TensorRT engine, built here if no cached one fits; it has reproduced the golden vectors.

    Raises:
        EngineError, BundleError, ConfigError: as `open_tensorrt`.
    """
    with bars(console) as progress, shown(progress) as report:
        return open_tensorrt(bundle, settings=settings, report=report)


def compare_engine(
    folder: Path, tests: Sequence[PairDataset], console: Console, settings: BuildSettings | None = None
) -> list[Comparison]:
    """Every test set scored by FP32 on the processor and by the built engine, at the bundle's operating point.

    Raises:
        EngineError, BundleError, ConfigError: as `open_tensorrt`.
    """
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    built = open_built(bundle, console, settings)
    artifact = artifact_for(generation_of(built.info.versions["tensorrt"]))
    reference = open_engine(bundle, precision="fp32")
    try:
        return [
            Comparison(
                score_set(engine_scorer(reference), test, manifest.modalities),
                score_set(engine_scorer(built), test, manifest.modalities),
                manifest.operating_point().threshold,
                artifact,
                "served",
            )
            for test in tests
        ]
    finally:
        built.close()
        reference.close()
