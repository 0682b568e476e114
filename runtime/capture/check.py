"""What is wrong with the cameras of a rig as they are named, found while all of them stay closed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping

from runtime.capture.file import require_same_numbers
from runtime.capture.open import check_camera
from runtime.capture.uri import CameraUri
from runtime.core.errors import CaptureError, ConfigError
from runtime.core.values import Modality


def check_cameras(addresses: Mapping[Modality, str]) -> None:
    """Make sure that a rig's addresses can be opened, as far as that can be known before.

    Raises:
        ConfigError: an address, an option or a file is wrong, a package is missing, two cameras are one, or two folders
            of pictures disagree; says which setting.
    """
    cameras: dict[Modality, CameraUri] = {}
    for modality, address in addresses.items():
        try:
            cameras[modality] = check_camera(address, modality)
        except (ConfigError, CaptureError) as error:
            raise ConfigError(f"rig.{modality}: {error.message}") from error
    for (one, first), (other, second) in itertools.combinations(cameras.items(), 2):
        if (device := _device(first)) and device == _device(second):
            # Not the device itself: an address may hold a password.
            raise ConfigError(
                f"rig.{one} and rig.{other} are one camera: {first.text} and {second.text}. Name another for one of "
                "them; adsn-rig list shows which there are."
            )
    require_same_numbers(addresses)


def _device(camera: CameraUri) -> str:
    """What two addresses of one camera have in common; empty for kinds that give several modalities at once."""
    if camera.scheme in ("v4l2", "opencv") and "://" not in camera.path:
        number = camera.path.removeprefix("/dev/video")
        # Links of udev lead to the node that other programs name.
        return os.path.realpath(f"/dev/video{number}" if number.isdigit() else camera.path)
    if camera.scheme == "opencv":
        return camera.path
    if camera.scheme == "file":
        return os.path.realpath(camera.file)
    if camera.scheme == "gst":
        return " ".join(camera.path.split())
    return ""
