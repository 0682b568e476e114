"""Recordings of one's own."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from adsn.datasets import DatasetError, open_recordings
from tests.support.images import chunk
from tests.support.models.dataset_trees import picture

LIST = """presentation,subject,species,sensor,split
p1,anna,bona_fide,rig-1,train
p2,anna,print_matte,rig-1,train
p3,bert,bona_fide,rig-1,test
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "recordings.csv").write_text(LIST)
    for name in ("p1", "p2", "p3"):
        for number in ("0000", "0001"):
            picture(tmp_path / name / f"{number}-rgb.jpg", 80, channels=3)
            picture(tmp_path / name / f"{number}-ir.png", 90)
    return tmp_path


def test_what_is_listed_is_read(root: Path) -> None:
    pairs = open_recordings(root, split="train")
    assert pairs.labels().tolist() == [1, 1, 0, 0]
    assert (pairs[2].subject, pairs[2].presentation, pairs[2].species) == ("anna", "p2", "print_matte")
    assert pairs[0].sensor == "rig-1"
    assert len(open_recordings(root, split="test")) == 2


def test_lists_and_boxes_may_begin_with_a_byte_order_mark(root: Path) -> None:
    plain = [open_recordings(root, split="train")[k].crops["rgb"] for k in range(4)]
    (root / "p1" / "boxes.json").write_bytes(codecs.BOM_UTF8 + json.dumps({"0000": {"rgb": [2, 2, 20, 20]}}).encode())
    (root / "recordings.csv").write_bytes(codecs.BOM_UTF8 + LIST.replace("\n", "\r\n").encode())
    marked = open_recordings(root, split="train")
    assert len(marked) == 4
    assert not np.array_equal(marked[0].crops["rgb"], plain[0])
    assert np.array_equal(marked[1].crops["rgb"], plain[1])


def test_what_a_system_left_in_a_folder_is_no_picture(root: Path) -> None:
    for name in ("._0000-rgb.jpg", "._0000-ir.png", "Thumbs.db", ".DS_Store"):
        (root / "p1" / name).write_bytes(b"left behind")
    pairs = open_recordings(root, split="train")
    assert len(pairs) == 4
    assert all(pairs[k].crops["rgb"].size for k in range(4))


def test_a_picture_that_was_cut_and_closed_or_moves_is_named(root: Path) -> None:
    whole = (root / "p1" / "0000-rgb.jpg").read_bytes()
    scan = whole.index(b"\xff\xda")
    (root / "p1" / "0000-rgb.jpg").write_bytes(whole[: (scan + len(whole)) // 2] + b"\xff\xd9")
    still = (root / "p1" / "0001-ir.png").read_bytes()
    moving = still[:33] + chunk(b"acTL", bytes([0, 0, 0, 1, 0, 0, 0, 0])) + still[33:]
    (root / "p1" / "0001-ir.png").write_bytes(moving)
    pairs = open_recordings(root, split="train")
    for index, name in ((0, "0000-rgb.jpg"), (1, "0001-ir.png")):
        with pytest.raises(DatasetError, match=f"{name}: not a whole picture, or several"):
            pairs[index]


def test_boxes_are_cropped_as_serving_does(root: Path) -> None:
    image = np.zeros((60, 80), np.uint8)
    image[20:40, 30:50] = 200
    cv2.imwrite(str(root / "p1" / "0000-ir.png"), image)
    (root / "p1" / "boxes.json").write_text(json.dumps({"0000": {"ir": [30, 20, 20, 20]}}))
    boxed, whole = open_recordings(root, split="train")[0], open_recordings(root, split="train")[1]
    # A margin of a fifth on each side: the box fills 20 of 28 pixels.
    assert (boxed.crops["ir"] > 100).mean() == pytest.approx((20 / 28) ** 2, abs=0.03)
    assert (whole.crops["ir"] == 90).mean() == pytest.approx(0.75, abs=0.03)


def test_depth_is_millimetres(root: Path) -> None:
    for number in ("0000", "0001"):
        cv2.imwrite(str(root / "p3" / f"{number}-depth.png"), np.full((30, 30), 523, np.uint16))
    sample = open_recordings(root, split="test", modalities=("ir", "depth"))[0]
    assert set(np.unique(sample.crops["depth"])) == {np.float32(523)}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (("p3,bert", "p3,anna"), r"recordings\.csv:4: subject 'anna' is in train and in test"),
        (("sensor,split", "sensor"), "columns"),
        (("rig-1,test", "rig-1,eval"), r":4: needs"),
        (("p1,anna", "../p1,anna"), "not the name of a folder"),
        (("p2,", "p9,"), r"p9: no such folder"),
    ],
)
def test_wrong_lists_are_named(root: Path, change: tuple[str, str], match: str) -> None:
    (root / "recordings.csv").write_text(LIST.replace(*change))
    with pytest.raises(DatasetError, match=match):
        open_recordings(root, split="train")


def test_wrong_boxes_are_named(root: Path) -> None:
    (root / "p1" / "boxes.json").write_text(json.dumps({"0000": {"ir": [300, 200, 20, 20]}}))
    with pytest.raises(DatasetError, match=r"0000-ir\.png: its box in boxes\.json is wrong"):
        open_recordings(root, split="train")[0]
    (root / "p1" / "boxes.json").write_text("[1]")
    with pytest.raises(DatasetError, match=r"boxes\.json: expected"):
        open_recordings(root, split="train")


def test_no_list_and_no_split(root: Path) -> None:
    with pytest.raises(DatasetError, match="no presentation in split 'dev'"):
        open_recordings(root, split="dev")
    (root / "recordings.csv").unlink()
    with pytest.raises(DatasetError, match=r"recordings\.csv: the list cannot be read"):
        open_recordings(root, split="train")
