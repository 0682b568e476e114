"""``POST /liveness``: contract, scoring and the worker pool."""

from service.liveness.active_model import ActiveModel
from service.liveness.capture import RigPairSource
from service.liveness.contract import CONTRACT_VERSION, LivenessResponse
from service.liveness.loading import open_model
from service.liveness.pool import WorkerPool
from service.liveness.rig_box_mapper import RigBoxMapper
from service.liveness.route import CompletedRequest, LivenessRoute, RequestObserver, add_liveness_route

__all__ = [
    "CONTRACT_VERSION",
    "ActiveModel",
    "CompletedRequest",
    "LivenessResponse",
    "LivenessRoute",
    "RequestObserver",
    "RigBoxMapper",
    "RigPairSource",
    "WorkerPool",
    "add_liveness_route",
    "open_model",
]
