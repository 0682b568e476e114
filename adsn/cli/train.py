"""``adsn-train``: train a network from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from platformdirs import user_cache_dir
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adsn.cli.folders import require_writable_folder
from runtime.cli.command import Version, command, run

if TYPE_CHECKING:
    from adsn.datasets import ListedPairs
    from adsn.datasets.cache import CachedPairs
    from adsn.datasets.pairs import PairDataset, SyntheticSpec
    from adsn.datasets.sections import AnySection, ListedSection
    from adsn.evaluation.plan import DataPlan
    from adsn.training.recipe import Recipe as RecipeModel
    from adsn.training.sampling import ArrayPairs
    from adsn.training.teacher import Teacher
    from runtime.imaging.crop import CropRule


def default_cache() -> Path:
    """Return the default folder for rendered sets.

    It is in the user's cache, or ``runs/rendered`` for a user without a home directory.
    """
    try:
        return Path(user_cache_dir("adsn")) / "rendered"
    except RuntimeError:
        return Path("runs") / "rendered"


DEFAULT_CACHE = default_cache()

Recipe = Annotated[Path, typer.Argument(help="Recipe (TOML), e.g. adsn/recipes/rgb-ir.toml.", show_default=False)]
Out = Annotated[Path, typer.Option(help="Folder for checkpoint, record and resume state.")]
Cache = Annotated[Path, typer.Option(help="Folder for rendered training sets.")]
Resume = Annotated[bool, typer.Option(help="Continue the run in --out where it stopped.")]
Start = Annotated[
    Path | None, typer.Option(help="Checkpoint whose weights to start from, to adapt a network to your own recordings.")
]
TeacherFile = Annotated[
    Path | None,
    typer.Option("--teacher", help="ONNX network, trained on real people, that teaches the RGB stream."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …")]
Threads = Annotated[int, typer.Option(help="Processor threads; 0: as many as there are cores.", min=0)]


def bars(console: Console) -> Progress:
    """Return a progress bar with count and remaining time."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def open_set(spec: SyntheticSpec, cache: Path, progress: Progress, workers: int) -> CachedPairs:
    """Open the rendered set of ``spec``. If it is missing, render it first, with a progress bar."""
    from adsn.datasets.cache import open_cache
    from adsn.datasets.pairs import SyntheticPairs

    task = progress.add_task(f"render {spec.name}", total=len(SyntheticPairs(spec)), note="")
    pairs = open_cache(spec, cache, workers=workers, tick=lambda n: progress.advance(task, n))
    progress.update(task, completed=len(pairs))
    return pairs


def open_section(
    name: str,
    section: AnySection,
    modalities: tuple[str, ...],
    rule: CropRule,
    cache: Path,
    progress: Progress,
    workers: int,
) -> PairDataset:
    """Open one set of a plan, and print which entries its reader skipped."""
    from adsn.datasets.sections import DataSection, PathTracedSection

    if isinstance(section, PathTracedSection):
        return section.open(name, rule)
    if isinstance(section, DataSection):
        return open_set(section.spec(name, rule), cache, progress, workers)
    return open_listed(name, section, modalities, rule, progress)


def open_plan(path: Path | None, console: Console) -> DataPlan:
    """Return the plan at ``path``, by default the shipped plan.

    If this machine lacks something for the shipped plan, print that.

    Raises:
        ConfigError: see `read_plan`.
    """
    from adsn.evaluation.plan import default_plan, read_plan

    if path is not None:
        return read_plan(path)
    plan, note = default_plan()
    if note:
        console.print(note)
    return plan


def open_listed(
    name: str, section: ListedSection, modalities: tuple[str, ...], rule: CropRule, progress: Progress
) -> ListedPairs:
    """Open a set on disk, and print which entries its reader skipped."""
    pairs = section.open(modalities, rule)
    for cause, count in pairs.skipped.items():
        progress.console.print(f"{name}: {count} of {len(pairs) + sum(pairs.skipped.values())} skipped: {cause}")
    return pairs


def open_part(
    recipe: RecipeModel, part: Literal["train", "dev"], cache: Path, progress: Progress, workers: int
) -> ArrayPairs:
    """Open the training or development set of a recipe as arrays. Missing pairs are rendered or decoded."""
    from adsn.datasets.mixed import MixedArrays

    sections = getattr(recipe.data, part)
    sets = [_as_arrays(recipe, part, index, cache, progress, workers) for index in range(len(sections))]
    if len(sets) == 1:
        return sets[0]
    return MixedArrays(recipe.set_name(part), sets, [section.weight for section in sections])


def _as_arrays(
    recipe: RecipeModel, part: Literal["train", "dev"], index: int, cache: Path, progress: Progress, workers: int
) -> CachedPairs:
    """Open one source of a set."""
    from adsn.datasets.cache import store
    from adsn.datasets.sections import DataSection, PathTracedSection

    section, name = getattr(recipe.data, part)[index], recipe.set_name(part, index)
    if isinstance(section, DataSection):
        return open_set(recipe.spec(part, index), cache, progress, workers)
    pairs = (
        section.open(name, recipe.rule())
        if isinstance(section, PathTracedSection)
        else open_listed(part, section, recipe.network.modalities, recipe.rule(), progress)
    )
    task = progress.add_task(f"decode {name}", total=len(pairs), note="")
    stored = store(pairs, cache, tick=lambda n: progress.advance(task, n))
    progress.update(task, completed=len(stored))
    return stored


def open_teacher(path: Path, threads: int) -> Teacher:
    """Open the teacher network for the RGB stream.

    Raises:
        TrainingError: the file cannot be used. The message gives the reason.
    """
    from adsn.training.teacher import Teacher, TeacherError
    from adsn.training.train import TrainingError

    try:
        return Teacher(path, threads)
    except TeacherError as error:
        raise TrainingError(str(error)) from error


def train(
    recipe: Recipe,
    out: Out = Path("runs/train"),
    cache: Cache = DEFAULT_CACHE,
    resume: Resume = False,
    start: Start = None,
    teacher: TeacherFile = None,
    device: Device = "cpu",
    threads: Threads = 0,
    version: Version = False,
) -> None:
    """Train a network from RECIPE; writes checkpoint.safetensors and train.json into --out after every epoch."""
    import os

    import torch

    from adsn.cli.data_table import show_data
    from adsn.training.parallel import join_process_group, leave_process_group, require_device
    from adsn.training.recipe import read_recipe
    from adsn.training.train import STATE_FILE, Trainer, TrainingError

    plan = read_recipe(recipe)
    require_device(device)
    require_writable_folder(out, "--out")
    require_writable_folder(cache, "--cache")
    if not resume and (out / STATE_FILE).exists():
        raise TrainingError(f"{out} already holds a run. Continue it with --resume, or choose another --out.")
    cores = threads or os.cpu_count() or 1
    torch.set_num_threads(cores)
    world, device = join_process_group(device)
    console = Console(quiet=world.rank > 0)
    with bars(console) as progress:
        train_set = open_part(plan, "train", cache, progress, cores)
        dev_set = open_part(plan, "dev", cache, progress, cores)
        show_data(console, {"train": train_set, "dev": dev_set})
        taught_by = None if teacher is None else open_teacher(teacher, cores)
        trainer = Trainer(plan, train_set, dev_set, out, device, world, start, taught_by)
        if resume and not trainer.resume():
            raise TrainingError(f"{out} holds no run to resume.")
        first, second = trainer.modalities
        epoch_bar = progress.add_task("epochs", total=plan.train.epochs, completed=trainer.progress.epoch, note="")
        step_bar = progress.add_task("batches", total=trainer.steps_per_epoch, note="")

        def report(kind: str, row: dict[str, float]) -> None:
            if kind == "step":
                progress.update(step_bar, advance=1, note=f"loss {row['loss']:.4f}")
                return
            progress.reset(step_bar)
            progress.advance(epoch_bar)
            console.print(
                f"epoch {row['epoch']:.0f}: loss {row['loss']:.4f}  fused {row['fused']:.4f}  "
                f"stream {row['stream']:.4f}  "
                f"centre {row['centre']:.3f}  overlap {row['overlap']:.3f}  dev AUC {row['dev_auc']:.5f}  "
                f"{first} {row[f'dev_auc_{first}']:.4f}  {second} {row[f'dev_auc_{second}']:.4f}  "
                f"{row['seconds']:.0f} s"
            )

        trainer.run(report)
    leave_process_group()
    console.print(f"wrote {out}/checkpoint.safetensors and train.json")


def main() -> None:
    """Run the console script."""
    run(command(train), extra="train")
