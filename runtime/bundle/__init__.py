"""Model bundles: manifest, digests, signature, and the check of ONNX files."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.bundle.manifest import Bundle, Manifest, open_bundle
    from runtime.bundle.onnx_check import check_model
    from runtime.bundle.signature import sign_manifest, write_key_pair

__all__ = [
    "Bundle",
    "Manifest",
    "check_model",
    "open_bundle",
    "sign_manifest",
    "write_key_pair",
]

__getattr__ = attach(
    __name__,
    {
        "Bundle": "runtime.bundle.manifest",
        "Manifest": "runtime.bundle.manifest",
        "check_model": "runtime.bundle.onnx_check",
        "open_bundle": "runtime.bundle.manifest",
        "sign_manifest": "runtime.bundle.signature",
        "write_key_pair": "runtime.bundle.signature",
    },
)
