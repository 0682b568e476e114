"""People built from MakeHuman's CC0 assets in the user's folders."""

from synthetic.people.makehuman.figure import Figure, FigurePart, figure_of
from synthetic.people.makehuman.files import MakeHumanError
from synthetic.people.makehuman.library import VARIABLE, Library, open_library
from synthetic.people.makehuman.person import RESERVED_FROM, Person, person_of

__all__ = [
    "RESERVED_FROM",
    "VARIABLE",
    "Figure",
    "FigurePart",
    "Library",
    "MakeHumanError",
    "Person",
    "figure_of",
    "open_library",
    "person_of",
]
