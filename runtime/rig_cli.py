"""``adsn-rig``: the technician's tool for the rig."""

from __future__ import annotations

from runtime.command import group, run
from runtime.rig_extract import extract
from runtime.rig_find import list_cameras, probe
from runtime.rig_record import record, replay
from runtime.rig_sample import sample
from runtime.rig_view import view

app = group("Find, try, watch, record and replay camera rigs, and make samples of the simulated one.")
app.command("list")(list_cameras)
for function in (probe, view, record, replay, extract, sample):
    app.command()(function)


def main() -> None:
    """Console script."""
    run(app, OSError)
