"""Errors of the export tool."""

from runtime.core.errors import AdsnError


class ExportError(AdsnError):
    """The export stopped before anything was replaced; says what to do."""

    code = "export_failed"


class ParityError(ExportError):
    """The quantised model differs too much from the float one."""

    code = "parity_failed"


class ApcerError(ExportError):
    """The model lets a species through more often than is accepted without being asked for."""

    code = "apcer_too_high"
