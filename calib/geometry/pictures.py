"""Read and write pairs of images in a folder, NAME-rgb.png and NAME-ir.png, as adsn-rig and adsn-calib write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import InputError
from runtime.core.file_names import files_in, natural
from runtime.core.values import Modality
from runtime.imaging.image_files import read_picture

KINDS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


def pairs_in(folder: Path, modalities: tuple[Modality, Modality]) -> Iterator[tuple[str, dict[Modality, NDArray[Any]]]]:
    """Yield the name and images of each pair, ordered by name. Colour images are RGB.

    Raises:
        InputError: there is no such folder, it contains no pairs, or a file is not an image.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder.")
    files: dict[Modality, dict[str, Path]] = {modality: {} for modality in modalities}
    for path in files_in(folder):
        for modality in modalities:
            if path.suffix.lower() in KINDS and path.stem.endswith(f"-{modality}"):
                files[modality][path.stem[: -len(modality) - 1]] = path
    first, second = (files[modality] for modality in modalities)
    names = sorted(first.keys() & second.keys(), key=natural)
    if not names:
        raise InputError(
            f"{folder}: no pairs of images. Name them NAME-{modalities[0]}.png and NAME-{modalities[1]}.png."
        )
    for name in names:
        yield name, {modality: read(files[modality][name]) for modality in modalities}


def read(path: Path) -> NDArray[Any]:
    """Read an image as uint8 or uint16 [H, W, 1 or 3], with colours in RGB order.

    Raises:
        InputError: the file is not an image.
    """
    try:
        picture = read_picture(path)
    except InputError as error:
        raise InputError(f"{error.message} Remove it from the folder.") from error
    if picture.ndim == 2:
        return picture[:, :, None]
    return np.ascontiguousarray(picture[:, :, 2::-1])


def write(folder: Path, name: str, pictures: Mapping[Modality, NDArray[Any]]) -> None:
    """Write a pair in the form that `pairs_in` reads.

    Raises:
        OSError: a file cannot be written.
    """
    for modality, picture in pictures.items():
        path = folder / f"{name}-{modality}.png"
        bgr = picture[:, :, ::-1] if picture.shape[2] == 3 else picture
        if not cv2.imwrite(str(path), bgr):
            raise OSError(f"{path} cannot be written")
