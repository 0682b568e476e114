"""Errors of the export tool."""

from runtime.core.errors import AdsnError


class ExportError(AdsnError):
    """The export stopped before it replaced anything."""

    code = "export_failed"


class ParityError(ExportError):
    """The quantised model differs too much from the FP32 model."""

    code = "parity_failed"


class ApcerError(ExportError):
    """The model lets a species through more often than is accepted without being asked for."""

    code = "apcer_too_high"
