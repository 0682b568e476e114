"""A fake TensorRT: the classes that this project uses, each with exactly the members of a given real version.

It runs the ONNX graph on ONNX Runtime in simulated device memory. With it, tests check our code against the published
names and run every line of it. It does not show whether TensorRT can build the graph, what the result is, or how fast
it runs: that takes a GPU and the tests marked ``gpu``.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx

from export.graph import session
from tests.support.models.fake_device import submit

API: dict[str, dict[str, list[str]]] = json.loads((Path(__file__).parent / "data" / "tensorrt_api.json").read_text())[
    "versions"
]
VERSIONS = sorted(API)
MAGIC = b"fake plan "


def guarded(name: str, members: list[str], base: type) -> type:
    """Return a subclass of ``base`` called ``name``, whose public members are limited to ``members``."""

    class Guarded(base):  # type: ignore[misc]  # created for each version
        def __getattribute__(self, key: str) -> Any:
            if not key.startswith(("_", "fake_")) and key not in members:
                raise AttributeError(f"{name} has no {key!r} in this version")
            return super().__getattribute__(key)

        def __setattr__(self, key: str, value: Any) -> None:
            if not key.startswith(("_", "fake_")) and key not in members:
                raise AttributeError(f"{name} has no {key!r} in this version")
            super().__setattr__(key, value)

    Guarded.__name__ = name
    return Guarded


class _Tensor:
    def __init__(self, value: Any) -> None:
        self.name = value.name
        self.shape = [d.dim_value or -1 for d in value.type.tensor_type.shape.dim]


class _Network:
    def __init__(self, flags: int) -> None:
        self.fake_flags = flags
        self.fake_model: Any = None

    @property
    def num_inputs(self) -> int:
        return len(self.fake_model.graph.input)

    def get_input(self, index: int) -> Any:
        return _Tensor(self.fake_model.graph.input[index])


class _Parser:
    fake_int64 = False

    def __init__(self, network: Any, logger: Any) -> None:
        self._network, self._logger = network, logger
        self._errors: list[str] = []

    def parse(self, model: bytes) -> bool:
        proto = onnx.load_from_string(model)
        if not self.fake_int64:
            self._warn_of_int64(proto)
        if any(n.op_type == "Shape" for n in proto.graph.node):
            self._errors.append("No importer registered for op: Shape")
            return False
        self._network.fake_model = proto
        return True

    def _warn_of_int64(self, proto: Any) -> None:
        """Warn like the parser of TensorRT 8, which has only int32."""
        wide = [onnx.numpy_helper.to_array(t) for t in proto.graph.initializer if t.data_type == onnx.TensorProto.INT64]
        if wide:
            self._logger.log(
                "WARNING",
                "Your ONNX model has been generated with INT64 weights, while TensorRT does not natively support "
                "INT64. Attempting to cast down to INT32.",
            )
        if any(not np.array_equal(value, value.astype(np.int32)) for value in wide):
            self._logger.log("WARNING", "One or more weights outside the range of INT32 was clamped")

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(desc=lambda: self._errors[index])


class _Config:
    def __init__(self) -> None:
        self.fake_flags: set[str] = set()
        self.fake_profiles: list[Any] = []
        self.fake_cache: Any = None
        self.fake_pool: dict[str, int] = {}
        self.profiling_verbosity: Any = None
        self.builder_optimization_level = 3
        self.progress_monitor: Any = None
        self.fake_tactic_sources: int | None = None

    def set_flag(self, flag: str) -> None:
        self.fake_flags.add(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.fake_pool[pool] = size

    def create_timing_cache(self, data: bytes) -> Any:
        return SimpleNamespace(data=data, serialize=lambda: b"timing of this device")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if cache.data not in (b"", b"timing of this device"):
            return False
        self.fake_cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self.fake_cache

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        self.fake_tactic_sources = tactic_sources
        return True

    def add_optimization_profile(self, profile: Any) -> int:
        self.fake_profiles.append(profile)
        return len(self.fake_profiles) - 1


class _Profile:
    def __init__(self) -> None:
        self.fake_shapes: dict[str, tuple[Any, Any, Any]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self.fake_shapes[input] = (min, opt, max)


class _Inspector:
    def get_engine_information(self, format: str) -> str:
        return json.dumps({"Layers": ["conv1 + relu"], "format": format})


class FakeContext:
    def __init__(self, engine: Any, profile: int | None) -> None:
        self._engine = engine
        self._profile = profile
        self.fake_addresses: dict[str, int] = {}
        self.fake_shapes: dict[str, tuple[int, ...]] = {}

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.fake_addresses[name] = memory
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        if self._profile is None:
            return False
        self.fake_shapes[name] = shape
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self._profile is None:
            return False
        if max(shape[0] for shape in self.fake_shapes.values()) > self._engine.fake_max:
            return False
        # A captured run keeps the shapes with which it was captured.
        shapes = dict(self.fake_shapes)
        submit(stream_handle, lambda: self.fake_run(shapes))
        return True

    def fake_run(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Run the model with these shapes, as a submitted run does."""
        inputs = {}
        for name, shape in shapes.items():
            raw = ctypes.string_at(self.fake_addresses[name], int(np.prod(shape)) * 4)
            inputs[name] = np.frombuffer(raw, np.float32).reshape(shape)
        for name, value in zip(self._engine.fake_outputs, self._engine.fake_session.run(None, inputs), strict=True):
            value = np.ascontiguousarray(value)
            ctypes.memmove(self.fake_addresses[name], value.ctypes.data, value.nbytes)


class _Engine:
    def __init__(self, described: dict[str, Any], model: bytes) -> None:
        self.fake_max = described["max"]
        self.fake_session = session(model, literal=True, threads=1)
        graph = onnx.load_from_string(model).graph
        self._inputs = {v.name: _Tensor(v) for v in graph.input}
        self.fake_outputs = {v.name: _Tensor(v) for v in graph.output}
        self.fake_contexts: type = FakeContext
        self.fake_shares_profiles = True
        self.fake_taken = 0
        self.fake_mode: Any = None
        self.fake_float: Any = None

    @property
    def num_io_tensors(self) -> int:
        return len(self._inputs) + len(self.fake_outputs)

    def get_tensor_name(self, index: int) -> str:
        name: str = [*self._inputs, *self.fake_outputs][index]
        return name

    def get_tensor_mode(self, name: str) -> Any:
        return self.fake_mode.INPUT if name in self._inputs else self.fake_mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return self.fake_float

    def get_tensor_shape(self, name: str) -> list[int]:
        shape: list[int] = {**self._inputs, **self.fake_outputs}[name].shape
        return shape

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        rest = tuple(self._inputs[name].shape[1:])
        return [(1, *rest), (1, *rest), (self.fake_max, *rest)]

    def create_execution_context(self) -> Any:
        # Up to 8.6 only one context can use a profile. A second context has no profile, and refuses shapes and work.
        profile = 0 if self.fake_shares_profiles or not self.fake_taken else None
        self.fake_taken += 1
        return self.fake_contexts(self, profile)

    def create_engine_inspector(self) -> Any:
        return _Inspector()


class FakeTensorRT:
    """The fake module. ``built``: configurations of all builds."""

    TensorIOMode: Any
    DataType: Any

    def __init__(self, version: str) -> None:
        api = API[version]
        self.__version__ = version
        self._api = api
        self.built: list[Any] = []
        for name in (
            *("BuilderFlag", "MemoryPoolType", "ProfilingVerbosity", "TensorIOMode", "DataType"),
            "LayerInformationFormat",
        ):
            setattr(self, name, SimpleNamespace(**{m: m for m in api[name]}))
        sources = [m for m in api["TacticSource"] if m.isupper()]
        self.TacticSource = SimpleNamespace(**{m: i for i, m in enumerate(sources)})
        flags = [m for m in api["NetworkDefinitionCreationFlag"] if m.isupper()]
        self.NetworkDefinitionCreationFlag = SimpleNamespace(**{m: i for i, m in enumerate(flags)})
        self.ILogger = type("ILogger", (), {m: m for m in api["ILogger"] if m.isupper()})
        if "IProgressMonitor" in api:
            self.IProgressMonitor = type("IProgressMonitor", (), {})
        parser: Any = self._class("OnnxParser", _Parser)
        parser.fake_int64 = not version.startswith("8.")
        self.OnnxParser = parser
        self.Builder = self._builder()
        self.Runtime = self._runtime()

    def _builder(self) -> type:
        fake, version = self, self.__version__
        network, config = self._class("INetworkDefinition", _Network), self._class("IBuilderConfig", _Config)
        profile = self._class("IOptimizationProfile", _Profile)

        class Builder:
            def __init__(self, logger: Any) -> None:
                logger.log("WARNING", "a message on the way")

            def create_network(self, flags: int = 0) -> Any:
                return network(flags)

            def create_builder_config(self) -> Any:
                return config()

            def create_optimization_profile(self) -> Any:
                return profile()

            def build_serialized_network(self, net: Any, chosen: Any) -> bytes | None:
                fake.built.append((net.fake_flags, chosen))
                monitor = getattr(chosen, "progress_monitor", None)
                if monitor is not None:
                    monitor.phase_start("Building", None, 2)
                    assert monitor.step_complete("Building", 0)
                    monitor.phase_finish("Building")
                shapes = next(iter(chosen.fake_profiles[0].fake_shapes.values()))
                head = json.dumps({"version": version, "max": shapes[2][0]}).encode()
                body: bytes = net.fake_model.SerializeToString()
                return MAGIC + len(head).to_bytes(4, "little") + head + body

        return self._class("Builder", Builder)

    def _runtime(self) -> Callable[[Any], Any]:
        fake, version = self, self.__version__
        engine, context = self._class("ICudaEngine", _Engine), self._class("IExecutionContext", FakeContext)

        class Runtime:
            def __init__(self, logger: Any) -> None:
                self.engine_host_code_allowed = None

            def deserialize_cuda_engine(self, plan: bytes) -> Any:
                if not plan.startswith(MAGIC):
                    return None
                size = int.from_bytes(plan[len(MAGIC) : len(MAGIC) + 4], "little")
                start = len(MAGIC) + 4
                described = json.loads(plan[start : start + size])
                if described["version"] != version:
                    return None
                made = engine(described, plan[start + size :])
                made.fake_shares_profiles = not version.startswith("8.")
                made.fake_contexts, made.fake_mode, made.fake_float = context, fake.TensorIOMode, fake.DataType.FLOAT
                return made

        runtime = self._class("Runtime", Runtime)

        def make_runtime(logger: Any) -> Any:
            made: Any = object.__new__(runtime)
            made.__dict__["engine_host_code_allowed"] = True
            return made

        return make_runtime

    def _class(self, name: str, base: type) -> type:
        made = guarded(name, self._api[name], base)
        if base is _Config:
            # The constructor must not set members that the real class lacks in this version.
            def begin(config: Any) -> None:
                for key, value in vars(_Config()).items():
                    object.__setattr__(config, key, value)

            type.__setattr__(made, "__init__", begin)
        return made
