"""Write a model repository for NVIDIA Triton from a bundle: a model for ONNX Runtime and one for a TensorRT plan.

``adsn-rgb-ir_onnx/`` serves the FP32 graph on ONNX Runtime. ``adsn-rgb-ir_plan/`` serves a plan that must be built on
the serving machine (``trtexec`` or ``adsn-export --engine``) from the ONNX source next to it. Field names are those of
Triton's ``model_config.proto``. Triton serves raw scores. Quality gates, thresholds and decisions are up to the client.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from export.errors import ExportError
from runtime.bundle.manifest import Bundle, Manifest, TensorEntry, open_bundle
from runtime.core.files import draft_folder

TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}
MAX_BATCH = 32
PREFERRED = (8, 16, 32)
QUEUE_DELAY_US = 2000
"""Time in microseconds for which a batch waits for more requests, a small part of the 33 ms of a frame."""


def _tensor(entry: TensorEntry, dtype: str) -> str:
    # Triton requires at least one dimension. For a scalar per sample, ``reshape`` removes it again.
    dims = ", ".join(map(str, entry.shape)) or "1"
    reshape = "" if entry.shape else "\n    reshape: { shape: [ ] }"
    return f'{{\n    name: "{entry.name}"\n    data_type: {dtype}\n    dims: [ {dims} ]{reshape}\n  }}'


def _warm_up(name: str, batch: int, inputs: list[tuple[TensorEntry, str]]) -> str:
    parts = [
        f'    inputs {{\n      key: "{entry.name}"\n      value: {{ data_type: {dtype} '
        f"dims: [ {', '.join(map(str, entry.shape))} ] zero_data: true }}\n    }}"
        for entry, dtype in inputs
    ]
    body = "\n".join(parts)
    return f'model_warmup [\n  {{\n    name: "{name}"\n    batch_size: {batch}\n{body}\n  }}\n]'


def config(manifest: Manifest, name: str, platform: str, sha256: str, *, float_inputs: bool) -> str:
    """Return ``config.pbtxt`` of one model: dynamic batching, warm-up, one instance per GPU, or on the CPU for ONNX.

    ``sha256``: digest of the model, or of the ONNX source of the plan. A remote engine uses it to identify the model.
    """
    backend = 'platform: "tensorrt_plan"' if platform == "plan" else 'backend: "onnxruntime"'
    inputs = [(e, TYPES["float32" if float_inputs else e.dtype]) for e in manifest.inputs]
    outputs = [(e, TYPES[e.dtype]) for e in manifest.outputs]
    kind = "KIND_GPU" if platform == "plan" else "KIND_AUTO"
    return "\n".join(
        [
            f'name: "{name}"',
            backend,
            f"max_batch_size: {MAX_BATCH}",
            "input [\n  " + ",\n  ".join(_tensor(*i) for i in inputs) + "\n]",
            "output [\n  " + ",\n  ".join(_tensor(*o) for o in outputs) + "\n]",
            f"instance_group [\n  {{\n    count: 1\n    kind: {kind}\n  }}\n]",
            "dynamic_batching {\n"
            f"  preferred_batch_size: [ {', '.join(map(str, PREFERRED))} ]\n"
            f"  max_queue_delay_microseconds: {QUEUE_DELAY_US}\n}}",
            _warm_up("one", 1, inputs),
            f'parameters {{\n  key: "model_sha256"\n  value: {{ string_value: "{sha256}" }}\n}}',
            "",
        ]
    )


README = """Model repository of {name} {version}, for tritonserver --model-repository.

{name}_onnx/1/model.onnx    the FP32 model, ready to serve.
{name}_plan/1/model.plan    not included: a plan fits only one GPU, driver and TensorRT version. Build it on the serving
                            machine, inside Triton's own container, from {name}_plan/source.onnx:

  trtexec --onnx={name}_plan/source.onnx --saveEngine={name}_plan/1/model.plan --fp16 --int8 \\
    --minShapes={least} --optShapes={best} --maxShapes={most}

  (TensorRT 11 takes only --stronglyTyped graphs: export with --target trt11 and omit --fp16 --int8.)

The plan's inputs are float32 with the same values as the cameras' uint8, 0 to 255. The models return scores only:
decide with threshold {threshold:.6f}, uncertain from {band:.6f}, and add your own gates for exposure, pose and skew.
"""


def write_repository(bundle_folder: Path, out: Path) -> None:
    """Write the repository atomically to ``out``, which must not exist or must be empty.

    Raises:
        ExportError: ``out`` is not empty or cannot be written. BundleError: the bundle cannot be trusted.
    """
    bundle = open_bundle(bundle_folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} is not empty; choose another --triton-repo.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(out) as draft:
            _fill(bundle, draft)
            draft.chmod(0o755)
            if out.exists():
                out.rmdir()
            draft.rename(out)
    except OSError as error:
        raise ExportError(f"{out} cannot be written: {error.strerror or error}.") from error


def _fill(bundle: Bundle, folder: Path) -> None:
    manifest = bundle.manifest
    onnx_name, plan_name = f"{manifest.name}_onnx", f"{manifest.name}_plan"
    for name in (onnx_name, plan_name):
        (folder / name / "1").mkdir(parents=True)
    (folder / onnx_name / "1" / "model.onnx").write_bytes(bundle.read("model-fp32"))
    (folder / onnx_name / "config.pbtxt").write_text(
        config(manifest, onnx_name, "onnx", bundle.entry("model-fp32").sha256, float_inputs=False)
    )
    roles = {entry.role for entry in manifest.files}
    source = "model-int8-trt" if "model-int8-trt" in roles else "model-int8-trt11"
    if source not in roles:
        shutil.rmtree(folder / plan_name)
    else:
        (folder / plan_name / "source.onnx").write_bytes(bundle.read(source))
        (folder / plan_name / "config.pbtxt").write_text(
            config(manifest, plan_name, "plan", bundle.entry(source).sha256, float_inputs=True)
        )
    shapes = {
        count: ",".join(f"{e.name}:{count}x" + "x".join(map(str, e.shape)) for e in manifest.inputs)
        for count in (1, MAX_BATCH)
    }
    point = manifest.operating_points[0]
    (folder / "README.txt").write_text(
        README.format(
            name=manifest.name,
            version=manifest.version,
            least=shapes[1],
            best=shapes[1],
            most=shapes[MAX_BATCH],
            threshold=point.threshold,
            band=point.band_low,
        )
    )
