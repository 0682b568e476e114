"""ONNX Runtime engines for CPU and CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.core.errors import EngineUnavailable, InferenceFailed
from runtime.core.processors import usable_cores
from runtime.engines.base import (
    OUTPUTS,
    Batch,
    EngineInfo,
    InputSpec,
    Precision,
    Scores,
    ThreadProfile,
    check_batch,
    check_scores,
)
from runtime.engines.driver import find_gpus

if TYPE_CHECKING:
    import onnxruntime

ONNX_TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


def import_onnxruntime() -> Any:
    """Return the onnxruntime module.

    Raises:
        EngineUnavailable: it is not installed. The message says which of its two packages to install.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineUnavailable(
            "ONNX Runtime is not installed. For CPU: pip install 'adsn[cpu]'. For an NVIDIA GPU: "
            "pip install 'adsn[gpu]'. Do not install both: they provide the same module."
        ) from error
    return onnxruntime


class OnnxEngine:
    """`Engine` on one of ONNX Runtime's execution providers.

    ``model``: verified bytes of the model. The library is never given a path: when given one, older versions follow
    external-data references to files outside the folder.

    Raises:
        EngineUnavailable: ONNX Runtime is not installed, lacks the provider, or rejects the model.
    """

    backend = "onnx-cpu"
    device = "cpu"
    providers: tuple[Any, ...] = ("CPUExecutionProvider",)

    def __init__(self, model: bytes, precision: Precision, *, profile: ThreadProfile = "latency") -> None:
        ort = import_onnxruntime()
        # "throughput" means one thread for this engine; the worker pool creates one engine per core.
        count = usable_cores() if profile == "latency" else 1
        options = ort.SessionOptions()
        options.intra_op_num_threads = count
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(model, options, providers=list(self.providers))
        except Exception as error:  # ONNX Runtime has a separate exception type for each kind of failure
            raise EngineUnavailable(f"ONNX Runtime {ort.__version__} rejected the model: {error}") from error
        first = self.providers[0] if isinstance(self.providers[0], str) else self.providers[0][0]
        if session.get_providers()[0] != first:
            # ONNX Runtime falls back to the CPU silently.
            raise EngineUnavailable(f"ONNX Runtime {ort.__version__} runs the model on {session.get_providers()[0]}.")
        self._session: onnxruntime.InferenceSession | None = session
        self._inputs = tuple(_spec(node) for node in session.get_inputs())
        missing = sorted(set(OUTPUTS) - {node.name for node in session.get_outputs()})
        if missing:
            raise EngineUnavailable(f"the model lacks the outputs {missing}; it is not a model of this project.")
        self._info = EngineInfo(
            backend=self.backend,
            precision=precision,
            device=self.device,
            versions={"onnxruntime": ort.__version__},
            threads=count,
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        return self._inputs

    def infer(self, batch: Batch) -> Scores:
        count = check_batch(batch, self._inputs)
        session = self._session
        if session is None:
            raise InferenceFailed("the engine is closed.")
        try:
            score, streams, attention = session.run(OUTPUTS, dict(batch))
        except Exception as error:  # see above: many exception types
            raise InferenceFailed(f"ONNX Runtime failed: {error}") from error
        return check_scores(Scores(score, streams, attention), count)

    def warm_up(self) -> None:
        self.infer({spec.name: np.zeros((1, *spec.shape), spec.dtype) for spec in self._inputs})

    def close(self) -> None:
        self._session = None


class OnnxCpuEngine(OnnxEngine):
    """`Engine` on the CPU."""


class OnnxCudaEngine(OnnxEngine):
    """`Engine` on an NVIDIA GPU, for the FP32 model. On a GPU, INT8 models run in TensorRT."""

    backend = "onnx-cuda"
    device = "cuda:0"
    # TF32 is off because it rounds to 10 bits, and the FP32 golden vectors would not be reproduced.
    providers = (("CUDAExecutionProvider", {"device_id": 0, "use_tf32": 0}), "CPUExecutionProvider")

    def __init__(self, model: bytes, precision: Precision, *, profile: ThreadProfile = "latency") -> None:
        find_gpus()
        ort = import_onnxruntime()
        if "CUDAExecutionProvider" not in ort.get_available_providers():
            raise EngineUnavailable(
                f"this ONNX Runtime ({ort.__version__}) is built without CUDA. Replace it: pip uninstall "
                "onnxruntime, then pip install 'adsn[gpu]'."
            )
        super().__init__(model, precision, profile=profile)


def _spec(node: Any) -> InputSpec:
    if node.type not in ONNX_TYPES or len(node.shape) != 4 or not all(isinstance(v, int) for v in node.shape[1:]):
        raise EngineUnavailable(
            f"input {node.name!r} has type {node.type} and shape {node.shape}; it is not a model of this project."
        )
    size, width, channels = node.shape[1:]
    return InputSpec(node.name, ONNX_TYPES[node.type], (size, width, channels))
