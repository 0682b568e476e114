"""Errors of the export tool."""

from runtime.core.errors import AdsnError


class ExportError(AdsnError):
    """The export stopped before it replaced any file."""

    code = "export_failed"


class ParityError(ExportError):
    """The quantised model differs too much from the FP32 model."""

    code = "parity_failed"


class ApcerError(ExportError):
    """The model accepts a species more often than the limit, and the user has not allowed that."""

    code = "apcer_too_high"
