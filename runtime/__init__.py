"""From camera to decision: camera → pair → face → crop → engine → decision. No HTTP, no torch."""

import os

__all__ = ["__version__"]

__version__ = "0.1.0"

# From version 1.29 on, ONNX Runtime's Linux builds report model names, hashes and a device id to its maker unless
# told not to before they load. Nothing leaves this machine that the operator did not ask for.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
