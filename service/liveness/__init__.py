"""``POST /liveness``: contract, scoring and the worker pool."""

from service.liveness.active_model import ActiveModel
from service.liveness.capture import Camera
from service.liveness.contract import CONTRACT_VERSION, LivenessResponse
from service.liveness.loading import open_model
from service.liveness.pool import Pool
from service.liveness.rig_registrar import RigRegistrar
from service.liveness.route import Judged, Liveness, Observer, add_liveness_route

__all__ = [
    "CONTRACT_VERSION",
    "ActiveModel",
    "Camera",
    "Judged",
    "Liveness",
    "LivenessResponse",
    "Observer",
    "Pool",
    "RigRegistrar",
    "add_liveness_route",
    "open_model",
]
