"""An image file with an accepted header, which can be decoded at full size or at a fraction of it."""

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
    """Bytes and header of an image file. ``name``: if given, it is put before the messages of errors."""

    modality: Modality
    data: bytes
    info: ImageInfo
    name: str = ""

    @classmethod
    def read(cls, data: bytes, modality: Modality, *, max_pixels: int, name: str = "") -> EncodedImage:
        """Read and check the header of a file, and return the image.

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
        """Return the largest reduction of a JPEG file up to ``most`` that divides both edges without a remainder, or 1.

        Without a remainder, a box converts exactly between the two sizes. For other formats return 1.
        """
        # Formats other than JPEG would be decoded at full size and then shrunk, which saves nothing.
        if self.info.jpeg is None:
            return 1
        return max((r for r in REDUCED if r <= most and not any(edge % r for edge in self.shape)), default=1)

    def decode(self, reduction: int = 1) -> NDArray[Any]:
        """Decode the image, with its edges divided by ``reduction``, to the layout of `runtime.core.values.Pair`.

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
