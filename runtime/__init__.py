"""From camera to decision: camera → pair → face → crop → engine → decision. No HTTP, no torch."""

import os

__all__ = ["__version__"]

__version__ = "0.1.0"

# From version 1.29 on, ONNX Runtime's Linux builds report model names, hashes and a device id to Microsoft unless this
# variable is set before the library loads. This package sends no data that the operator did not ask for.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
