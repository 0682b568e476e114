"""People: identity, head, shape."""

from synthetic.people.attributes import Attributes, draw_attributes
from synthetic.people.identity import Identity, identity_of
from synthetic.people.scan import FaceModelError
from synthetic.people.shape import SHAPES, HeadShape, head_shape, head_surface

__all__ = [
    "SHAPES",
    "Attributes",
    "FaceModelError",
    "HeadShape",
    "Identity",
    "draw_attributes",
    "head_shape",
    "head_surface",
    "identity_of",
]
