"""TensorRT engine: named tensors and ``execute_async_v3``, on one thread that owns the GPU's primary context.

A batch larger than the maximum of the engine is split into parts that alternate between slots. Each slot has its own
stream, buffers and execution context, so that one slot can copy while the other computes. If the device supports CUDA
graphs, a part whose size has run before is launched as a graph. The graph includes the shapes, so no other call is
needed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import EngineUnavailable, InferenceFailed
from runtime.engines.base import OUTPUTS, Batch, EngineInfo, InputSpec, Precision, Scores, check_batch, check_scores
from runtime.engines.tensorrt.build import make_logger
from runtime.engines.tensorrt.device import GpuDevice
from runtime.engines.tensorrt.thread import OwningThread
from runtime.engines.tensorrt.versions import execution_slots, forbid_host_code, generation_of

log = logging.getLogger(__name__)
DEADLINE_S = 10.0
"""Time limit in seconds for one batch, far longer than any run of this network. A device that exceeds it is considered
lost."""


@dataclass(slots=True)
class _Slot:
    """Resources for one part of a batch in flight: ``count`` pairs starting at pair ``start``. ``shaped``: batch size
    for which the shapes of the context are set, 0 if none."""

    context: Any
    stream: int
    host: dict[str, NDArray[Any]]
    device: dict[str, int]
    graphs: dict[int, Callable[[], None] | None] = field(default_factory=dict)
    start: int = 0
    count: int = 0
    shaped: int = 0


class TensorRTEngine:
    """`Engine` on a built plan.

    ``open_device``: called on the engine's own thread, which then owns the context. ``inputs``: inputs declared in the
    bundle's manifest; the plan takes the same values as float32. ``deadline_s``: time limit for one batch, in seconds.
    ``graphs``: use CUDA graphs if the device supports them.

    Raises:
        EngineUnavailable: the plan cannot be loaded, or was not built from a model of this project.
    """

    def __init__(
        self,
        plan: bytes,
        trt: Any,
        open_device: Callable[[], GpuDevice],
        inputs: tuple[InputSpec, ...],
        *,
        precision: Precision,
        device_name: str,
        deadline_s: float = DEADLINE_S,
        graphs: bool = True,
    ) -> None:
        self._inputs, self._trt, self._deadline, self._graphs = inputs, trt, deadline_s, graphs
        self._thread = OwningThread("tensorrt")
        self._slots: list[_Slot] = []
        self._broken = ""
        self._device: GpuDevice | None = None
        try:
            self._thread.submit(lambda: self._open(plan, open_device)).result()
        except BaseException:
            self.close()
            raise
        assert self._device is not None
        self._info: EngineInfo = EngineInfo(
            backend="tensorrt",
            precision=precision,
            device=device_name,
            versions={"tensorrt": str(trt.__version__), "provider": self._device.provider},
            threads=1,
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        return self._inputs

    def _open(self, plan: bytes, open_device: Callable[[], GpuDevice]) -> None:
        trt = self._trt
        self._device = device = open_device()
        self._logger = make_logger(trt)
        runtime = trt.Runtime(self._logger)
        forbid_host_code(runtime)
        self._engine = engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineUnavailable(
                "TensorRT rejects the engine: it was built by another version or for another GPU. It is built again."
            )
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        given = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        if sorted(given) != sorted(s.name for s in self._inputs) or not set(OUTPUTS) <= set(names):
            raise EngineUnavailable(f"the engine has the tensors {names}; it is not an engine of this project.")
        for name in names:
            if engine.get_tensor_dtype(name) != trt.DataType.FLOAT:
                raise EngineUnavailable(
                    f"the engine's tensor {name!r} is not float32; it is not an engine of this project."
                )
        self._max_batch = int(engine.get_tensor_profile_shape(given[0], 0)[2][0])
        shapes = {name: tuple(engine.get_tensor_shape(name))[1:] for name in [*given, *OUTPUTS]}
        for spec in self._inputs:
            if shapes[spec.name] != spec.shape:
                raise EngineUnavailable(f"the engine's {spec.name} has shape {shapes[spec.name]}, not {spec.shape}.")
        for _ in range(execution_slots(generation_of(trt.__version__))):
            self._slots.append(self._slot(device, engine, shapes))

    def _slot(self, device: GpuDevice, engine: Any, shapes: dict[str, tuple[int, ...]]) -> _Slot:
        context = engine.create_execution_context()
        if context is None:
            raise EngineUnavailable(
                "TensorRT cannot allocate an execution context; free GPU memory or lower the largest batch."
            )
        host = {name: device.pinned((self._max_batch, *shape), "float32") for name, shape in shapes.items()}
        addresses = {name: device.allocate(array.nbytes) for name, array in host.items()}
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise EngineUnavailable(f"TensorRT rejects the address of {name!r}; see its messages in the log.")
        return _Slot(context, device.stream(), host, addresses)

    def infer(self, batch: Batch) -> Scores:
        count = check_batch(batch, self._inputs)
        if self._broken:
            raise InferenceFailed(self._broken)
        try:
            work = self._thread.submit(lambda: self._run(batch, count))
        except RuntimeError as error:
            raise InferenceFailed("the engine is closed.") from error
        try:
            return check_scores(work.result(self._deadline), count)
        except FutureTimeout as error:
            # The thread may be blocked forever, so later calls must fail without waiting for it.
            self._broken = (
                f"the GPU has not responded for {self._deadline:g} s and is considered lost. Restart this process; if "
                "this persists, look for Xid errors in dmesg and reset the device."
            )
            raise InferenceFailed(self._broken) from error

    def _run(self, batch: Batch, count: int) -> Scores:
        if self._broken:
            raise InferenceFailed(self._broken)
        if self._device is None:
            raise InferenceFailed("the engine is closed.")
        shapes = {name: self._slots[0].host[name].shape[1:] for name in OUTPUTS}
        # Start with NaN, so that a value that no part has filled cannot be mistaken for a score.
        found = {name: np.full((count, *shape), np.nan, np.float32) for name, shape in shapes.items()}
        starts, slots = list(range(0, count, self._max_batch)), len(self._slots)
        for index, start in enumerate(starts):
            slot = self._slots[index % slots]
            if index >= slots:
                self._collect(slot, found)
            self._begin(slot, batch, start, min(start + self._max_batch, count))
        for index in range(max(0, len(starts) - slots), len(starts)):
            self._collect(self._slots[index % slots], found)
        return Scores(found["score"], found["stream_scores"], found["attention"])

    def _begin(self, slot: _Slot, batch: Batch, start: int, stop: int) -> None:
        device = self._device
        assert device is not None
        slot.start, slot.count = start, stop - start
        count = slot.count
        for spec in self._inputs:
            # Convert uint8 to float32 while copying into the pinned buffer.
            np.copyto(slot.host[spec.name][:count], batch[spec.name][start:stop], casting="same_kind")
        launch = slot.graphs.get(count)
        if launch is not None:
            launch()
            return
        self._set_shapes(slot, count)

        def enqueue() -> None:
            for spec in self._inputs:
                device.copy_in(slot.device[spec.name], slot.host[spec.name][:count], slot.stream)
            if not slot.context.execute_async_v3(slot.stream):
                raise InferenceFailed("TensorRT failed to run; see its messages in the log. Restart this process.")
            for name in OUTPUTS:
                device.copy_out(slot.host[name][:count], slot.device[name], slot.stream)

        enqueue()
        if self._graphs and count not in slot.graphs:
            # Record the graph only after one plain run, in which TensorRT allocates memory. The graph is valid as long
            # as the addresses stay the same.
            device.wait(slot.stream)
            slot.graphs[count] = device.capture(slot.stream, enqueue)

    def _set_shapes(self, slot: _Slot, count: int) -> None:
        """Set the input shapes of the context for ``count`` pairs, unless they are already set."""
        if slot.shaped == count:
            return
        # If one shape is refused, the inputs may be left with different batch sizes.
        slot.shaped = 0
        for spec in self._inputs:
            if not slot.context.set_input_shape(spec.name, (count, *spec.shape)):
                raise InferenceFailed(
                    f"TensorRT rejects a batch of {count} for {spec.name!r}; see its messages in the log. Restart this "
                    "process."
                )
        slot.shaped = count

    def _collect(self, slot: _Slot, found: dict[str, NDArray[Any]]) -> None:
        """Wait for the slot and copy its scores into ``found``, because the next part overwrites the buffers."""
        assert self._device is not None
        self._device.wait(slot.stream)
        for name, array in found.items():
            array[slot.start : slot.start + slot.count] = slot.host[name][: slot.count]

    def warm_up(self) -> None:
        self.infer({spec.name: np.zeros((1, *spec.shape), spec.dtype) for spec in self._inputs})

    def close(self) -> None:
        done = self._thread.close(self._close)
        if done is None:
            return
        try:
            done.result(self._deadline)
        except FutureTimeout:
            log.error("the GPU was not released within %g s", self._deadline)

    def _close(self) -> None:
        # Contexts must be deleted before the engine, and both before the memory that they use.
        self._slots.clear()
        self._engine = None
        device, self._device = self._device, None
        if device is not None:
            device.close()
