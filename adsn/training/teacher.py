"""Distillation: an RGB network trained on real people teaches the RGB stream.

Labels of rendered images alone teach a renderer's habits. A network trained on real faces, prints and screens responds
to cues of the real world, also in rendered or distorted images. Linear heads on the RGB stream learn to reproduce its
class probabilities and last features. They are discarded after training, so nothing of the teacher is served.

The teacher is the user's own ONNX file: one input float32 [N, 3, h, w], BGR, 0 to 255; one output float32 [N, k],
logits. MiniFASNetV2 of minivision-ai/Silent-Face-Anti-Spoofing (Apache-2.0) is one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adsn.training.augment import BLACK


class TeacherError(Exception):
    """The teacher's file cannot be used."""


class Teacher:
    """A frozen ONNX classifier of RGB crops that also returns the features before its last layer."""

    def __init__(self, path: Path, threads: int) -> None:
        """Open the file.

        Raises:
            TeacherError: packages are missing, the file does not exist, or the graph has another form.
        """
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise TeacherError(f"--teacher needs the packages of the extra 'export' ({error}).") from error
        try:
            data = path.read_bytes()
            model = onnx.load_from_string(data)
        except OSError as error:
            raise TeacherError(f"{path}: the teacher cannot be read: {error.strerror}.") from error
        except Exception as error:
            raise TeacherError(f"{path}: not an ONNX model ({error}).") from error
        last = next((n for n in reversed(model.graph.node) if n.op_type in ("Gemm", "MatMul")), None)
        if last is None or len(model.graph.input) != 1 or len(model.graph.output) != 1:
            raise TeacherError(f"{path}: expected one input, one output and a linear last layer.")
        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        if len(shape) != 4 or shape[1] != 3 or min(shape[2:]) < 16:
            raise TeacherError(f"{path}: expected an input of shape [N, 3, h, w], not {shape}.")
        features = last.input[0]
        model.graph.output.append(onnx.ValueInfoProto(name=features))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = model.graph.input[0].name
        self._outputs = [model.graph.output[0].name, features]
        self.edge = (shape[2], shape[3])
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.name = path.stem
        logits, found = self(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
        self.classes, self.width = logits.shape[1], found.shape[1]

    def __call__(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Run the teacher: uint8 [N, S, S, 3], RGB → logits float32 [N, k] and features float32 [N, d]."""
        planes = F.interpolate(rgb.cpu().permute(0, 3, 1, 2).float(), self.edge, mode="bilinear", antialias=True)
        logits, features = self._session.run(self._outputs, {self._input: np.ascontiguousarray(planes.flip(1).numpy())})
        return torch.from_numpy(logits), torch.from_numpy(features.reshape(len(rgb), -1))


class DistillationLoss(nn.Module):
    """Distance of the RGB stream's linear heads from the teacher's probabilities and features."""

    def __init__(self, inputs: int, teacher: Teacher, scores: float, features: float) -> None:
        super().__init__()
        self.teacher, self.scores, self.features = teacher, scores, features
        self.to_logits = nn.Linear(inputs, teacher.classes)
        self.to_features = nn.Linear(inputs, teacher.width)

    def forward(self, stream: Tensor, rgb: Tensor) -> Tensor:
        """``stream`` float32 [N, F]: the RGB stream's features of ``rgb`` uint8 [N, S, S, 3] → scalar."""
        with torch.no_grad():
            logits, features = (value.to(stream.device) for value in self.teacher(rgb))
            # The teacher was not trained in the dark.
            seen = (rgb.float().mean((1, 2, 3)) >= BLACK).float().to(stream.device)
        apart = F.kl_div(F.log_softmax(self.to_logits(stream), 1), F.softmax(logits, 1), reduction="none").sum(1)
        away = 1 - F.cosine_similarity(self.to_features(stream), features, dim=1)
        per_pair = self.scores * apart + self.features * away
        return (per_pair * seen).sum() / seen.sum().clamp_min(1.0)
