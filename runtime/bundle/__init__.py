"""Model bundles: manifest, digests, signature, and the check of ONNX files."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

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

__getattr__ = lazy_names(
    __name__,
    {
        "manifest": ("Bundle", "Manifest", "open_bundle"),
        "onnx_check": ("check_model",),
        "signature": ("sign_manifest", "write_key_pair"),
    },
)
