"""The Open Inference Protocol v2."""

from service.oip.route import OpenInference, add_oip_routes

__all__ = ["OpenInference", "add_oip_routes"]
