"""Check a rig's camera addresses without opening a camera."""

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
    """Check a rig's camera addresses as far as possible without opening the cameras.

    Raises:
        ConfigError: an address, an option or a file is wrong, a package is missing, two addresses name the same camera,
            or two image folders do not match. The message names the setting.
    """
    cameras: dict[Modality, CameraUri] = {}
    for modality, address in addresses.items():
        try:
            cameras[modality] = check_camera(address, modality)
        except (ConfigError, CaptureError) as error:
            raise ConfigError(f"rig.{modality}: {error.message}") from error
    for (one, first), (other, second) in itertools.combinations(cameras.items(), 2):
        if (device := _device(first)) and device == _device(second):
            # The message shows the redacted addresses, because the key may contain a password.
            raise ConfigError(
                f"rig.{one} and rig.{other} name the same camera: {first.text} and {second.text}. Use another camera "
                "for one of them; adsn-rig list shows the cameras of this machine."
            )
    require_same_numbers(addresses)


def _device(camera: CameraUri) -> str:
    """Return a key that is the same for all addresses of one camera.

    It is empty for schemes that supply several modalities.
    """
    if camera.scheme in ("v4l2", "opencv") and "://" not in camera.path:
        number = camera.path.removeprefix("/dev/video")
        # Resolve udev's symbolic links, so that a link and the node it points to get the same key.
        return os.path.realpath(f"/dev/video{number}" if number.isdigit() else camera.path)
    if camera.scheme == "opencv":
        return camera.path
    if camera.scheme == "file":
        return os.path.realpath(camera.file)
    if camera.scheme == "gst":
        return " ".join(camera.path.split())
    return ""
