"""Requirements on a teacher, and the RGB stream's learning from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from adsn.network.model import ADSN, NetworkConfig
from adsn.training.teacher import DistillationLoss, Teacher, TeacherError


def written(path: Path, *, channels: int = 3, linear: bool = True) -> Path:
    """A classifier: mean over each channel of the image, two logits from the means."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
    ]
    weights = [numpy_helper.from_array(np.array([[0.02, 0, 0], [0, 0, 0.02]], np.float32).T, "w")]
    last = helper.make_node("MatMul", ["features", "w"], ["output"])
    nodes.append(last if linear else helper.make_node("Relu", ["features"], ["output"]))
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", channels, 24, 24])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 2 if linear else channels])],
        weights if linear else [],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def test_a_teacher_sees_bgr_in_its_own_size(tmp_path: Path) -> None:
    teacher = Teacher(written(tmp_path / "t.onnx"), 1)
    assert (teacher.classes, teacher.width, teacher.edge) == (2, 3, (24, 24))
    red = torch.zeros(1, 48, 48, 3, dtype=torch.uint8)
    red[..., 0] = 200
    logits, features = teacher(red)
    assert features.tolist() == [pytest.approx([0, 0, 200], abs=0.01)]
    assert logits.tolist() == [pytest.approx([0, 4], abs=0.01)]


@pytest.mark.parametrize(
    ("change", "match"),
    [({"channels": 1}, r"\[N, 3, h, w\]"), ({"linear": False}, "linear last layer")],
)
def test_another_graph_is_refused(tmp_path: Path, change: dict[str, int], match: str) -> None:
    with pytest.raises(TeacherError, match=match):
        Teacher(written(tmp_path / "t.onnx", **change), 1)  # type: ignore[arg-type]


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(TeacherError, match=r"t\.onnx"):
        Teacher(tmp_path / "t.onnx", 1)
    with pytest.raises(TeacherError, match="No such file"):
        Teacher(tmp_path / "absent.onnx", 1)


def test_the_stream_learns_what_the_teacher_knows_and_the_dark_teaches_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher = Teacher(written(tmp_path / "t.onnx"), 1)
    network = ADSN(NetworkConfig(width=8, maps=2, size=64))
    lesson = DistillationLoss(network.stream_width, teacher, 1.0, 1.0)
    rgb = torch.randint(0, 256, (16, 1, 1, 3), dtype=torch.uint8).expand(-1, 64, 64, -1).contiguous()
    ir = torch.zeros(16, 64, 64, 1, dtype=torch.uint8)
    optimiser = torch.optim.Adam([*network.parameters(), *lesson.parameters()], lr=3e-3)
    losses = []
    for _ in range(25):
        loss = lesson(network.features(rgb, ir).streams[:, 0], rgb)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    black = torch.zeros(4, 64, 64, 3, dtype=torch.uint8)
    taught = lesson(network.features(black, ir[:4]).streams[:, 0], black)
    assert float(taught.detach()) == 0.0
