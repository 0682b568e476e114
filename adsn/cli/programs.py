"""Entry points of the console scripts. They work even if other packages named ``service`` or ``runtime`` are on the
path."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGES = ("calib", "export", "runtime", "service", "synthetic")
"""Our other packages, whose names an application may also use for its own packages."""
ROOT = Path(__file__).resolve().parents[2]


def prefer_own_packages() -> None:
    """Put the folder of this installation first on the path if a package of the same name would be found before ours.

    ``PYTHONPATH`` comes before installed packages, and is often the folder of an application that has its own
    ``service/``.
    """
    for name in PACKAGES:
        spec = PathFinder.find_spec(name)
        if spec is not None and spec.origin is not None and Path(spec.origin).resolve().parents[1] != ROOT:
            sys.path.insert(0, str(ROOT))
            return


def run(module: str) -> None:
    """Import one of our modules and call its ``main``."""
    prefer_own_packages()
    # An import at the top of this file would run before the path is corrected.
    main: Callable[[], None] = import_module(module).main
    main()


train = partial(run, "adsn.cli.train")
evaluate = partial(run, "adsn.cli.evaluate")
export = partial(run, "export.cli")
calib = partial(run, "calib.cli.main")
rig = partial(run, "runtime.cli.rig.main")
doctor = partial(run, "runtime.cli.doctor.main")
serve = partial(run, "service.cli.serve")
kiosk = partial(run, "service.kiosk")
