"""Names of a package that are imported when they are first asked for, so that importing the package costs nothing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for ``package``. ``modules``: module inside the package, or the dotted name of any
    other → names that it defines."""
    homes = {
        name: module if "." in module else f"{package}.{module}" for module, names in modules.items() for name in names
    }

    def find(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home), name)
        # Found without this function from now on.
        setattr(sys.modules[package], name, value)
        return value

    return find
