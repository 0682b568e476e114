"""``python -m adsn.cli.render``: path-trace pairs for training in the background."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from adsn.datasets.base import DatasetError
from adsn.datasets.shards import ShardSpec, write_shards
from runtime.core.errors import ConfigError
from synthetic import PATH_TRACED_SPECIES, FaceModelError
from synthetic.pathtraced import SAMPLES, RenderError
from synthetic.people.makehuman import MakeHumanError

NICENESS = 15


def render(
    root: Annotated[Path, typer.Argument(help="Folder for the set.")],
    first: Annotated[int, typer.Option(help="First subject.")] = 0,
    last: Annotated[int, typer.Option(help="One past the last subject.")] = 400,
    bona_fide: Annotated[int, typer.Option(help="Bona fide presentations of each subject.")] = 9,
    per_attack: Annotated[int, typer.Option(help="Presentations of each attack species and subject.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of the set.")] = 0,
    family: Annotated[list[str] | None, typer.Option(help="Sensor families, used in turn.")] = None,
    species: Annotated[
        list[str] | None, typer.Option(help="Attack species to render (may be repeated); all by default.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Paths a pixel.", min=1)] = SAMPLES,
    part: Annotated[str, typer.Option(help="k/n: every n-th subject, starting with the k-th, from 0.")] = "0/1",
) -> None:
    """Render what is missing of a set. It can be stopped at any time and continued by the same command."""
    os.nice(NICENESS)
    began = time.monotonic()
    try:
        k, n = part_of(part)
    except ConfigError as error:
        raise typer.BadParameter(error.message) from None
    try:
        spec = ShardSpec(
            (first, last),
            bona_fide,
            per_attack,
            seed,
            tuple(family or ("A",)),
            tuple(species or PATH_TRACED_SPECIES[1:]),
            samples=samples,
        )
        pairs = len(spec.plan())

        def tick(subject: int) -> None:
            typer.echo(f"subject {subject}: {pairs} pairs, {time.monotonic() - began:.0f} s since the start")

        folder = write_shards(spec, root, part=(k, n), tick=tick)
    except (DatasetError, FaceModelError, MakeHumanError, RenderError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    typer.echo(str(folder))


def part_of(text: str) -> tuple[int, int]:
    """Return k and n of ``k/n``.

    Raises:
        ConfigError: they are not numbers with 0 <= k < n.
    """
    try:
        k, n = (int(word) for word in text.split("/"))
    except ValueError:
        k, n = 0, 0
    if not 0 <= k < n:
        raise ConfigError(f"--part {text}: expected k/n with 0 <= k < n, such as 0/2.")
    return k, n


def main() -> None:
    """Run the command."""
    typer.run(render)


if __name__ == "__main__":
    main()
