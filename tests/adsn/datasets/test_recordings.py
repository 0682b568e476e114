"""The reader for your own recordings."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from adsn.datasets import DatasetError, open_recordings
from adsn.datasets.base import require_both_classes
from runtime.imaging.crop import CropRule
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


def test_a_pair_has_its_pictures_where_every_one_of_them_has_a_box(root: Path) -> None:
    boxes = {"0000": {"rgb": [2, 2, 20, 20], "ir": [4, 2, 20, 20]}, "0001": {"rgb": [2, 2, 20, 20]}}
    (root / "p1" / "boxes.json").write_text(json.dumps(boxes))
    pairs = open_recordings(root, split="train")
    patch = pairs.patch(0)
    assert patch is not None
    assert patch.boxes["ir"].x == 4
    assert all(np.array_equal(pairs[0].crops[m], cut) for m, cut in patch.crops(CropRule()).items())
    assert [pairs.patch(k) for k in (1, 2)] == [None, None]


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
        with pytest.raises(DatasetError, match=f"{name}: not a complete single image"):
            pairs[index]


def test_boxes_are_cropped_as_serving_does(root: Path) -> None:
    image = np.zeros((60, 80), np.uint8)
    image[20:40, 30:50] = 200
    cv2.imwrite(str(root / "p1" / "0000-ir.png"), image)
    (root / "p1" / "boxes.json").write_text(json.dumps({"0000": {"ir": [30, 20, 20, 20]}}))
    boxed, whole = open_recordings(root, split="train")[0], open_recordings(root, split="train")[1]
    # With a margin of a fifth on each side, the box fills 20 of 28 pixels.
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
        (("p3,bert", "p3,anna"), r"recordings\.csv:2 and .*recordings\.csv:4: subject 'anna' is in train and in test"),
        (("p3,bert", "p3,bert "), r":4: subject 'bert ' has spaces"),
        (("bert,bona_fide", "bert,Bona_Fide"), r"recordings\.csv:4: species 'Bona_Fide'.*Write bona_fide"),
        (("bert,bona_fide", "bert,live"), r"recordings\.csv:4: species 'live'.*Write bona_fide"),
        (("anna,bona_fide", "anna,bona_fide "), r"recordings\.csv:2: species 'bona_fide '.*Write bona_fide"),
        (("bert,bona_fide", "bert,Print_Matte"), "'Print_Matte' and 'print_matte' differ only in spelling"),
        (("p2,anna", "p1,anna"), r"csv:2 and .*csv:3: presentation 'p1' is listed as 'bona_fide' and as 'print_matte'"),
        (("p2,anna,print_matte", "p1,anna,bona_fide"), r"csv:2 and .*csv:3: presentation 'p1' is listed twice"),
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


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_list_that_is_not_utf_8_is_named(root: Path, encoding: str) -> None:
    (root / "recordings.csv").write_text(LIST.replace("bert", "Bärbel"), encoding=encoding)
    with pytest.raises(DatasetError, match=r"recordings\.csv: not a CSV file in UTF-8"):
        open_recordings(root, split="train")


def test_swapped_pictures_are_refused_as_the_service_refuses_them(root: Path) -> None:
    rng = np.random.default_rng(0)
    rgb, ir = root / "p1" / "0000-rgb.jpg", root / "p1" / "0000-ir.png"
    cv2.imwrite(str(ir), rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    with pytest.raises(DatasetError, match=r"0000-ir\.png: ir: a colour picture .* swapped"):
        open_recordings(root, split="train")[0]
    cv2.imwrite(str(ir), np.full((60, 80), 90, np.uint8))
    cv2.imwrite(str(rgb), np.full((60, 80), 90, np.uint8))
    with pytest.raises(DatasetError, match=r"0000-rgb\.jpg: a grey image instead of RGB.* swapped"):
        open_recordings(root, split="train")[0]


def test_grey_pictures_stored_as_colour_are_infrared_all_the_same(root: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)
    cv2.imwrite(str(root / "p1" / "0000-ir.png"), np.dstack([grey, grey, grey]))
    stored = open_recordings(root, split="train")[0].crops["ir"]
    cv2.imwrite(str(root / "p1" / "0000-ir.png"), grey)
    assert np.array_equal(stored, open_recordings(root, split="train")[0].crops["ir"])


@pytest.mark.parametrize(("kept", "match"), [("bona_fide", "no attack presentation"), ("mask", "no bona fide")])
def test_a_set_of_one_class_is_of_no_use(root: Path, kept: str, match: str) -> None:
    (root / "recordings.csv").write_text(LIST.replace("bona_fide", kept).replace("print_matte", kept))
    with pytest.raises(DatasetError, match=match):
        require_both_classes(open_recordings(root, split="train"))
