"""``adsn-rig``: the technician's tool for a rig."""

from __future__ import annotations

from runtime.cli.command import group, run
from runtime.cli.rig.extract import extract
from runtime.cli.rig.find import list_cameras, probe
from runtime.cli.rig.record import record, replay
from runtime.cli.rig.sample import sample
from runtime.cli.rig.view import view

app = group("Find, test, watch, record and replay camera rigs, and write samples of the simulated rig.")
app.command("list")(list_cameras)
for function in (probe, view, record, replay, extract, sample):
    app.command()(function)


def main() -> None:
    """Console script."""
    run(app, OSError)
