"""``adsn-export --engine``: build the TensorRT engine for this machine, with progress bars, and check its parity.

The build itself is in `runtime.engines.tensorrt.build`, because a kiosk must be able to rebuild an outdated engine
without this tool. DLA is not supported: before TensorRT 11.4 it needs implicit INT8 with a calibrator. This project
does not use that, because the graph then says nothing about the precision of the engine.
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
from adsn.evaluation.evaluate import engine_scorer
from adsn.evaluation.mismatch import score_test_set
from export.parity import Comparison
from runtime.bundle.manifest import Bundle, open_bundle
from runtime.engines.base import Engine
from runtime.engines.tensorrt.cache import EngineCache
from runtime.engines.tensorrt.open import open_tensorrt
from runtime.engines.tensorrt.versions import BuildSettings, PhaseReporter, artifact_for, generation_of, import_tensorrt
from runtime.liveness.open import open_engine


def require_tensorrt() -> Literal["int8-trt", "int8-trt11"]:
    """Return the artifact that the installed TensorRT uses.

    Call it first: it raises if ``--engine`` cannot succeed, before minutes of work.

    Raises:
        EngineUnavailable: there is no driver or GPU, or TensorRT is not installed or not supported.
        ConfigError: the engine cache cannot be used.
    """
    trt = import_tensorrt()
    EngineCache()
    return artifact_for(generation_of(trt.__version__))


@contextmanager
def shown(progress: Progress) -> Iterator[PhaseReporter]:
    """Show a progress bar for each build phase that TensorRT reports (10 and later)."""
    tasks: dict[str, TaskID] = {}

    def report(phase: str, done: int, steps: int) -> None:
        if phase not in tasks:
            tasks[phase] = progress.add_task(f"TensorRT: {phase}", total=max(steps, 1), note="")
        progress.update(tasks[phase], completed=done if steps else 1)

    waiting = progress.add_task("TensorRT engine", total=None, note="takes minutes, on a large GPU too")
    yield report
    progress.update(waiting, total=1, completed=1, note="")


def open_built(bundle: Bundle, console: Console, settings: BuildSettings | None = None) -> Engine:
    """Open the TensorRT engine of a bundle, and build it if the cache has no matching one. The engine has reproduced
    the golden vectors.

    Raises:
        EngineError, BundleError, ConfigError: see `open_tensorrt`.
    """
    with bars(console) as progress, shown(progress) as report:
        return open_tensorrt(bundle, settings=settings, report=report)


def compare_engine(
    folder: Path, tests: Sequence[PairDataset], console: Console, settings: BuildSettings | None = None
) -> list[Comparison]:
    """Score every test set with FP32 on the CPU and with the built engine, at the bundle's operating point.

    Raises:
        EngineError, BundleError, ConfigError: see `open_tensorrt`.
    """
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    built = open_built(bundle, console, settings)
    artifact = artifact_for(generation_of(built.info.versions["tensorrt"]))
    reference = open_engine(bundle, precision="fp32")
    try:
        return [
            Comparison(
                score_test_set(engine_scorer(reference), test, manifest.modalities),
                score_test_set(engine_scorer(built), test, manifest.modalities),
                manifest.operating_point().threshold,
                artifact,
                "served",
            )
            for test in tests
        ]
    finally:
        built.close()
        reference.close()
