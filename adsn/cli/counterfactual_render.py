"""``python -m adsn.cli.counterfactual_render``: path-trace the images of ``adsn-eval --counterfactual`` in the
background."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from adsn.cli.folders import require_writable_folder
from adsn.cli.render import NICENESS, part_of
from adsn.evaluation.counterfactual import Comparison
from adsn.evaluation.variant_store import VariantStore
from runtime.cli.command import command, run
from runtime.core.errors import ConfigError
from synthetic import FaceModelError
from synthetic.pathtraced import RenderError
from synthetic.people.makehuman import MakeHumanError


def counterfactual_render(
    folder: Annotated[Path, typer.Argument(help="Folder that adsn-eval gets as --cache.", show_default=False)],
    presentations: Annotated[int, typer.Option(help="Presentations of each species.", min=1, max=10_000)] = 200,
    attribute: Annotated[
        list[str] | None, typer.Option(help="Attribute to change; repeat it for more. Default: all.")
    ] = None,
    species: Annotated[
        list[str] | None, typer.Option(help="Species to render; repeat it for more. Default: all.")
    ] = None,
    part: Annotated[str, typer.Option(help="k/n: every n-th presentation, starting with the k-th, from 0.")] = "0/1",
) -> None:
    """Render what is missing in FOLDER. It can be stopped at any time and continued by the same command."""
    os.nice(NICENESS)
    first, step = part_of(part)
    compared = Comparison(presentations=presentations, renderer="pathtraced")
    try:
        attributes, kinds = compared.chosen(attribute or None, species or None)
        store = VariantStore(folder)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    require_writable_folder(folder, "FOLDER")
    began = time.monotonic()
    # The presentation is the outer loop: whenever this stops, the first ones are complete.
    for number in range(first, presentations, step):
        keys = compared.variants(number, attributes, kinds)
        new = sum(store.add(compared.presentation(kind, number), variant) for kind, _, variant in keys)
        elapsed = time.monotonic() - began
        typer.echo(f"presentation {number}: {len(keys)} images, {new} of them new, {elapsed:.0f} s since the start")
    typer.echo(str(store.folder))


def main() -> None:
    """Run the command."""
    run(command(counterfactual_render), FaceModelError, MakeHumanError, RenderError)


if __name__ == "__main__":
    main()
