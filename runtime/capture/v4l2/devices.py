"""List the V4L2 cameras of this machine with the addresses that open them."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.capture.v4l2.formats import FORMATS, PREFERRED
from runtime.capture.v4l2.kernel import Kernel, LinuxKernel
from runtime.capture.v4l2.metadata import metadata_node
from runtime.capture.v4l2.node import Node, NodeKind, OfferedFormat, identity_of
from runtime.core.errors import CaptureError
from runtime.core.values import Modality


@dataclass(frozen=True, slots=True)
class VideoDevice:
    """A video node. ``identity``: what calibrations refer to (`SourceInfo.identity`).

    ``by_id``, ``by_path``: links to the node that survive renumbering; empty if udev created none. ``metadata``:
    metadata node of the camera, if any. ``modality``: modality suggested by the formats; None if they do not suggest
    one. ``problem``: why the node cannot be used; empty if no problem is known. ``formats`` can be empty even without a
    problem.
    """

    path: str
    card: str = ""
    driver: str = ""
    bus: str = ""
    identity: str = ""
    by_id: str = ""
    by_path: str = ""
    kind: NodeKind = "other"
    formats: tuple[OfferedFormat, ...] = ()
    metadata: str | None = None
    modality: Modality | None = None
    problem: str = ""
    problem_code: str = ""

    @property
    def uri(self) -> str:
        """Return an address that opens the node. It survives renumbering if udev has created a link."""
        if self.identity and self.identity == self.by_id:
            return f"v4l2:/dev/v4l/by-id/{self.by_id}"
        if self.identity and self.identity == self.by_path:
            return f"v4l2:/dev/v4l/by-path/{self.by_path}"
        return f"v4l2:{self.path}"


def list_devices(kernel: Kernel | None = None, *, cameras_only: bool = True) -> tuple[VideoDevice, ...]:
    """List all nodes that deliver images; with ``cameras_only`` off, every video node.

    A node that cannot be opened does not raise: its `VideoDevice.problem` says why.
    """
    kernel = kernel or LinuxKernel()
    devices = [_describe(kernel, path) for path in kernel.nodes()]
    return tuple(d for d in devices if not cameras_only or d.kind in ("video", "multiplanar") or d.problem)


def _describe(kernel: Kernel, path: str) -> VideoDevice:
    try:
        node = Node(kernel, path)
    except CaptureError as error:
        return VideoDevice(path, problem=error.message, problem_code=error.code)
    try:
        identity, by_id, by_path = identity_of(kernel, node)
        formats = node.formats() if node.kind == "video" else ()
        return VideoDevice(
            path,
            card=node.card,
            driver=node.driver,
            bus=node.bus,
            identity=identity,
            by_id=by_id,
            by_path=by_path,
            kind=node.kind,
            formats=formats,
            metadata=metadata_node(kernel, node) if node.kind == "video" else None,
            modality=_suggested(formats),
            problem="its multi-planar interface needs gst:" if node.kind == "multiplanar" else "",
            problem_code="camera_unsupported" if node.kind == "multiplanar" else "",
        )
    except CaptureError as error:
        return VideoDevice(path, node.card, node.driver, node.bus, problem=error.message, problem_code=error.code)
    finally:
        node.close()


def _suggested(formats: tuple[OfferedFormat, ...]) -> Modality | None:
    """Return RGB if any format has colour, depth for depth formats, and IR if all formats are grey."""
    names = {f.name for f in formats}
    if any(FORMATS[n].delivers_rgb for n in names if n in FORMATS):
        return "rgb"
    if "Z16" in names:
        return "depth"
    return "ir" if names & set(PREFERRED["ir"]) else None
