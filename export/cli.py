"""``adsn-export``: from a checkpoint to a verified bundle."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from adsn.cli.folders import require_writable_folder
from adsn.cli.train import DEFAULT_CACHE, bars, open_plan
from runtime.bundle.manifest import parse_manifest
from runtime.bundle.measured import APCER_LIMIT, MeasuredApcer, apcer_over_limit, apcer_warning
from runtime.cli.command import Version, command, run
from runtime.core.errors import ConfigError

if TYPE_CHECKING:
    from rich.progress import Progress

    from calib.ranges import Ranges
    from export.build import ExportOptions, ExportResult, ExportSource
    from export.samples import ProgressStep
    from runtime.bundle.manifest import Int8Artifact


class TargetName(str, Enum):
    """Runtime for which an INT8 artifact is created."""

    cpu = "cpu"
    trt = "trt"
    trt11 = "trt11"


ARTIFACTS: dict[TargetName, Int8Artifact] = {
    TargetName.cpu: "int8-cpu",
    TargetName.trt: "int8-trt",
    TargetName.trt11: "int8-trt11",
}


class MethodName(str, Enum):
    """Method of clipping activations, see `calib.ranges`."""

    minmax = "minmax"
    percentile = "percentile"
    entropy = "entropy"
    mse = "mse"


Checkpoint = Annotated[
    Path | None,
    typer.Argument(help="checkpoint.safetensors of adsn-train; default: the shipped one.", show_default=False),
]
Int8 = Annotated[bool, typer.Option("--int8", help="Quantise to INT8; the float model is written beside it.")]
Calib = Annotated[
    Path | None, typer.Option(help="Plan (TOML) of calibration, dev and test data; default: the shipped one.")
]
Out = Annotated[Path, typer.Option(help="Folder of the bundle.")]
Targets = Annotated[
    list[TargetName] | None,
    typer.Option(
        "--target", help="Artifact beside the cpu one: trt (TensorRT 8.6 to 10), trt11 (11 and later); repeat it."
    ),
]
Cache = Annotated[Path, typer.Option(help="Folder for rendered sets.")]
Flips = Annotated[float, typer.Option(help="Largest accepted share of decisions that INT8 flips.", min=0, max=1)]
RateChange = Annotated[float, typer.Option(help="Largest accepted change of worst APCER and of BPCER.", min=0, max=1)]
AcceptApcer = Annotated[
    bool,
    typer.Option("--accept-apcer", help=f"Write the bundle even if a species' APCER is above {APCER_LIMIT:.0%}."),
]
MethodOption = Annotated[MethodName, typer.Option(help="How activation ranges are chosen.")]
RangesFile = Annotated[
    Path | None, typer.Option("--ranges", help="Take these ranges (a bundle's ranges.json) instead of measuring them.")
]
Samples = Annotated[int, typer.Option(help="Calibration pairs, drawn evenly from each species.", min=1)]
MinSamples = Annotated[int, typer.Option(help="Fewest calibration pairs to accept.", min=1)]
Seed = Annotated[int, typer.Option(help="Seed of that draw.", min=0)]
KeepFloat = Annotated[
    list[str] | None,
    typer.Option(help="Beginning of the names of nodes to leave in float, e.g. /streams.0/layer1; repeat it."),
]
AutoKeep = Annotated[
    bool,
    typer.Option(
        "--auto-keep", help="Keep as few layers in float as the INT8 model needs to pass the comparison with FP32."
    ),
]
Sensitivity = Annotated[bool, typer.Option("--sensitivity", help="Print what each layer costs in 8 bits.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, on which data, and stop.")]
Sign = Annotated[Path | None, typer.Option(help="Ed25519 private key (PEM) to sign the manifest with.")]
TritonRepo = Annotated[Path | None, typer.Option(help="Also write a Triton model repository into this folder.")]
MakeEngine = Annotated[
    bool, typer.Option("--engine", help="Also build TensorRT's engine on this machine's GPU and check it.")
]
BundleVersion = Annotated[str, typer.Option(help="Version to write into the manifest.")]


def export(
    checkpoint: Checkpoint = None,
    int8: Int8 = False,
    calib: Calib = None,
    out: Out = Path("runs/bundle"),
    target: Targets = None,
    method: MethodOption = MethodName.percentile,
    ranges: RangesFile = None,
    samples: Samples = 512,
    min_samples: MinSamples = 128,
    seed: Seed = 0,
    keep_float: KeepFloat = None,
    auto_keep: AutoKeep = False,
    sensitivity: Sensitivity = False,
    max_flips: Flips = 0.002,
    max_rate_change: RateChange = 0.002,
    accept_apcer: AcceptApcer = False,
    dry_run: DryRun = False,
    sign: Sign = None,
    triton_repo: TritonRepo = None,
    engine: MakeEngine = False,
    cache: Cache = DEFAULT_CACHE,
    bundle_version: BundleVersion = "0.1.0",
    version: Version = False,
) -> None:
    """Turn CHECKPOINT into a bundle: ONNX, activation ranges, INT8, threshold, parity, golden vectors, manifest."""
    if not int8:
        raise ConfigError("pass --int8: a bundle always holds the INT8 model, with the float one beside it.")
    from export.build import ExportOptions, ExportSource
    from export.parity import ParityLimits

    options = ExportOptions(
        artifacts=artifacts_of(target or [], engine=engine),
        method=method.value,
        samples=samples,
        min_samples=min_samples,
        seed=seed,
        keep_float=tuple(keep_float or ()),
        auto_keep=auto_keep,
        sensitivity=sensitivity,
        limits=ParityLimits(max_flips, max_rate_change),
        ranges=reviewed(ranges) if ranges else None,
        version=bundle_version,
    )
    console = Console()
    named = checkpoint or shipped_checkpoint(console)
    source = ExportSource(named, open_plan(calib, console), cache, workers=os.cpu_count() or 1)
    require_usable(source, out)
    if dry_run:
        announce(console, source, options, out)
        return
    built = build_bundle(source, options, Destination(out, sign, accept_apcer), console)
    if triton_repo is not None:
        from export.triton import write_repository

        write_repository(out, triton_repo)
        console.print(f"wrote {triton_repo}: serve it with tritonserver --model-repository {triton_repo}")
    if engine:
        check_engine(built, options, out, console)


def artifacts_of(targets: Sequence[TargetName], *, engine: bool) -> tuple[Int8Artifact, ...]:
    """Return the artifacts to create. ``engine``: whether to include the one for the TensorRT on this machine.

    Raises:
        EngineUnavailable: TensorRT is not available. ExportError: ONNX Runtime is too old.
    """
    from export.graph import require_half_precision

    wanted: set[Int8Artifact] = {ARTIFACTS[target] for target in targets}
    if engine:
        from export.tensorrt import require_tensorrt

        wanted.add(require_tensorrt())
    if "int8-trt11" in wanted:
        require_half_precision()
    return ("int8-cpu", *sorted(wanted - {"int8-cpu"}))


def shipped_checkpoint(console: Console) -> Path:
    """Return the checkpoint of the shipped bundle, and print that it is used.

    Raises:
        ConfigError: the checkpoint does not exist.
    """
    from runtime.liveness.open import default_bundle

    found = default_bundle() / "checkpoint.safetensors"
    if not found.is_file():
        raise ConfigError(f"no checkpoint is named, and {found} is not there. Name the checkpoint of adsn-train.")
    console.print(f"no checkpoint named: exporting the shipped one, {found}")
    return found


def require_usable(source: ExportSource, out: Path) -> None:
    """Check that inputs are readable and outputs writable, before minutes of work.

    Raises:
        CheckpointError: the checkpoint cannot be read. ExportError, ConfigError: a folder is not writable.
    """
    from adsn.network.checkpoint import read_metadata
    from export.write import require_writable

    read_metadata(source.checkpoint)
    require_writable(out)
    require_writable_folder(source.cache, "--cache")


@dataclass(frozen=True, slots=True)
class Destination:
    """Output folder of the bundle, its signing key, and whether species may exceed the APCER limit."""

    folder: Path
    sign: Path | None
    accept_apcer: bool


def build_bundle(
    source: ExportSource, options: ExportOptions, destination: Destination, console: Console
) -> ExportResult:
    """Build a bundle, print the measurements, and write the bundle if it passes the gates.

    Raises:
        ParityError: INT8 differs too much from FP32. ApcerError: a species is accepted too often, and the user did not
            allow that. Others: see `build` and `write_bundle`.
    """
    from export.build import build
    from export.parity import require_parity
    from export.show import show_costs, show_over_limit, show_parity
    from export.write import write_bundle

    with bars(console) as progress:
        built = build(source, options, steps(progress))
        finish(progress)
    show_costs(console, built.costs, built.kept)
    show_parity(console, built, options.limits)
    require_parity(built.comparisons, options.limits, [cost.layer for cost in built.costs[:3]])
    over = apcer_over_limit(parse_manifest(json.dumps(built.manifest).encode(), "the new manifest"), "int8")
    show_over_limit(console, over)
    require_apcer(over, accepted=destination.accept_apcer)
    write_bundle(destination.folder, built.files, built.manifest, destination.sign)
    console.print(f"wrote {destination.folder}: loaded, verified, golden vectors reproduced in FP32 and INT8")
    return built


def require_apcer(over: Sequence[MeasuredApcer], *, accepted: bool) -> None:
    """Refuse a model that accepts a species too often, unless the user has allowed that.

    Raises:
        ApcerError: the model is refused. The message names each species with its rate, and the remedy.
    """
    from export.errors import ApcerError

    if over and not accepted:
        raise ApcerError(
            f"the model {apcer_warning(over)} Nothing was written. Train longer or on more of these attacks, or write "
            "the bundle knowingly with --accept-apcer: the service then says so at every start and in /info."
        )


def check_engine(built: ExportResult, options: ExportOptions, out: Path, console: Console) -> None:
    """Build the TensorRT engine of the bundle in ``out`` and compare it with FP32 on the same test sets.

    Raises:
        ParityError: the engine differs too much from FP32.
    """
    from export.parity import require_parity
    from export.show import show_comparisons
    from export.tensorrt import compare_engine

    comparisons = compare_engine(out, built.tests, console)
    show_comparisons(console, comparisons, options.limits)
    require_parity(comparisons, options.limits, (), "the TensorRT engine", "the bundle stands; do not serve with it")


def reviewed(path: Path) -> Ranges:
    """Read activation ranges from a file.

    Raises:
        CalibrationError: the file cannot be read or contains no ranges.
    """
    from calib.ranges import CalibrationError, read_ranges

    try:
        data = path.read_bytes()
    except OSError as error:
        raise CalibrationError(f"{path}: {error.strerror}; name a bundle's ranges.json.") from error
    return read_ranges(data, str(path))


def steps(progress: Progress) -> ProgressStep:
    """Return a receiver that shows a progress bar for each step."""
    from export.samples import ProgressStep

    class Bars(ProgressStep):
        def start(self, name: str, total: int) -> None:
            finish(progress)
            self.task = progress.add_task(name, total=total, note="")

        def tick(self, count: int) -> None:
            progress.advance(self.task, count)

    return Bars()


def finish(progress: Progress) -> None:
    """Show the last step as done, because a cached set reports no progress."""
    for task in progress.tasks:
        progress.update(task.id, completed=task.total)


def announce(console: Console, source: ExportSource, options: ExportOptions, out: Path) -> None:
    """Print the steps of an export, without running them."""
    from adsn.network.checkpoint import read_metadata

    plan, network = source.plan, read_metadata(source.checkpoint)["network"]
    modalities = " + ".join(network["modalities"])
    console.print(f"{source.checkpoint}: {modalities}, width {network['width']}, {network['size']} px")
    for name, section in [("calibration", plan.calibration), ("dev", plan.dev), *plan.test.items()]:
        console.print(f"  {name}: {section}", highlight=False)
    console.print(
        f"ranges: {options.method} over at most {options.samples} pairs, seed {options.seed}; "
        f"left in float: {', '.join(options.keep_float) or 'nothing by name'}"
        f"{'; further layers as the gate asks' if options.auto_keep else ''}"
    )
    limits = options.limits
    console.print(f"gate: {limits.flips:.2%} flips, {limits.rate:.2%} change of worst APCER and BPCER")
    console.print(f"would write {out} with model.onnx, {', '.join(options.artifacts)}; nothing was written")


def main() -> None:
    """Run the console script."""
    run(command(export), extra="export")
