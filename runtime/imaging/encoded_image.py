"""An image file whose header was accepted, to be decoded at full size or at a fraction of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from runtime.core.errors import InputError
from runtime.core.values import Modality
from runtime.imaging.decode import REDUCED, pixels_of, pixels_of_depth, read_header
from runtime.imaging.image_info import ImageInfo


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """A file's bytes and header. ``name``: put before the messages of its errors, if given."""

    modality: Modality
    data: bytes
    info: ImageInfo
    name: str = ""

    @classmethod
    def read(cls, data: bytes, modality: Modality, *, max_pixels: int, name: str = "") -> EncodedImage:
        """Read and check a file's header.

        Raises:
            NotAnImage, TruncatedImage, ImageTooLarge, WrongShape, WrongChannels: see
            `runtime.imaging.decode.read_header`.
        """
        try:
            return cls(modality, data, read_header(data, modality, max_pixels=max_pixels), name)
        except InputError as error:
            raise _named(error, name) from error

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the full image."""
        return self.info.height, self.info.width

    def reduction(self, most: float) -> int:
        """Return the largest reduction up to ``most`` that divides both edges without a remainder, or 1.

        Without a remainder, a box in one size is exact in the other.
        """
        # Other formats are decoded whole and shrunk afterwards, which saves nothing.
        if self.info.jpeg is None:
            return 1
        return max((r for r in REDUCED if r <= most and not any(edge % r for edge in self.shape)), default=1)

    def decode(self, reduction: int = 1) -> NDArray[Any]:
        """Return the image in the layout of `runtime.core.values.Pair`, its edges divided by ``reduction``.

        Raises:
            TruncatedImage: it does not decode. WrongChannels: a colour image given as IR.
        """
        try:
            if self.modality == "depth":
                return pixels_of_depth(self.data, self.info)
            return pixels_of(self.data, self.modality, self.info, reduction)
        except InputError as error:
            raise _named(error, self.name) from error


def _named(error: InputError, name: str) -> InputError:
    return type(error)(f"{name}: {error.message}") if name else error
