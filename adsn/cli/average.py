"""``python -m adsn.cli.average``: average the weights of several checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adsn.network.checkpoint import CheckpointError
from adsn.training.average import average


def average_command(
    checkpoints: Annotated[list[Path], typer.Argument(help="Checkpoints of one training history, the newest first.")],
    out: Annotated[Path, typer.Option(help="File for the average.")],
    share: Annotated[list[float] | None, typer.Option(help="Share of each checkpoint; equal by default.")] = None,
    match_offset: Annotated[
        float, typer.Option(help="Added to the logit that both images show one moment.", min=-10, max=10)
    ] = 0.0,
) -> None:
    """Write the weighted average of checkpoints that were trained one from another.

    With --match-offset, one checkpoint is enough.
    """
    try:
        average(checkpoints, share or [1.0] * len(checkpoints), out, match_offset)
    except (CheckpointError, ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    typer.echo(str(out))


def main() -> None:
    """Run the command."""
    typer.run(average_command)


if __name__ == "__main__":
    main()
