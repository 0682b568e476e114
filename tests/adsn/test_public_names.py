"""Every package of training, export, calibration and simulation declares its public names."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest

import adsn
import calib
import export
import synthetic


def packages() -> Iterator[str]:
    for top in (adsn, calib, export, synthetic):
        yield top.__name__
        for found in pkgutil.walk_packages(top.__path__, f"{top.__name__}."):
            if found.ispkg and found.name != "adsn.recipes":
                yield found.name


@pytest.mark.parametrize("name", list(packages()))
def test_public_names_are_listed_and_there(name: str) -> None:
    package = import_module(name)
    assert len(package.__all__) == len(set(package.__all__))
    for public in package.__all__:
        value = getattr(package, public)
        assert public == "__version__" or not public.startswith("_")
        # Defined here, not re-exported from a library.
        assert getattr(value, "__module__", name).split(".")[0] in ("adsn", "calib", "export", "runtime", "synthetic",
                                                                    "builtins", "collections", "typing")  # fmt: skip
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_that_name'"):
        package.nothing_of_that_name  # noqa: B018
