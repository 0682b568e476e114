"""CASIA-SURF in its three forms, with the pitfalls of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adsn.datasets import DatasetError, open_casia_surf
from adsn.datasets.base import modality_of
from tests.support.models.dataset_trees import picture, triplet

REAL = "Training/real_part/CLKJ_AS0001/real.rssdk"
FAKE = "Training/fake_part/CLKJ_AS0002/05_enm_s.rssdk"


def row(video: str, name: str, label: int, order: str = "color depth ir") -> str:
    return " ".join(f"{video}/{folder}/{name}" for folder in order.split()) + f" {label}"


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    for video, value in ((REAL, 100), (FAKE, 50)):
        for name in ("101.jpg", "111.jpg"):
            triplet(tmp_path / video, name, value)
    # The second half of the list has its columns in reverse order, like another copy in circulation.
    lines = [
        row(REAL, "101.jpg", 1),
        row(REAL, "111.jpg", 1, "color ir depth"),
        row(FAKE, "101.jpg", 0, "ir color depth"),
    ]
    (tmp_path / "train_list.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_tokens_decide_not_columns(challenge: Path) -> None:
    pairs = open_casia_surf(challenge, form="challenge", split="train", modalities=("rgb", "ir", "depth"))
    assert pairs.labels().tolist() == [1, 1, 0]
    for i in range(3):
        sample = pairs[i]
        value = 100 if sample.label else 50
        assert sample.crops["ir"].dtype == np.uint8
        assert int(np.median(sample.crops["ir"])) == pytest.approx(value + 2, abs=2)
        # 8-bit depth 101 is 400 mm + 100 of 254 steps to 600 mm.
        depth = sample.crops["depth"]
        assert depth.dtype == np.float32
        assert float(np.median(depth[depth > 0])) == pytest.approx(400 + value * 200 / 254, abs=2)
        # Red is 20 higher: RGB, not BGR.
        middle = sample.crops["rgb"][56, 56].astype(int)
        assert middle[0] - middle[2] == pytest.approx(20, abs=4)


def test_sizes_differ_and_come_out_alike(challenge: Path) -> None:
    sample = open_casia_surf(challenge, form="challenge", split="train", modalities=("rgb", "ir", "depth"))[0]
    assert {m: c.shape for m, c in sample.crops.items()} == {
        "rgb": (112, 112, 3),
        "ir": (112, 112, 1),
        "depth": (112, 112, 1),
    }


def test_videos_are_presentations_and_codes_species(challenge: Path) -> None:
    pairs = open_casia_surf(challenge, form="challenge", split="train")
    assert [pairs[i].presentation for i in range(3)] == [
        "CLKJ_AS0001/real.rssdk",
        "CLKJ_AS0001/real.rssdk",
        "CLKJ_AS0002/05_enm_s.rssdk",
    ]
    assert pairs[2].species == "print_cut_eyes_nose_mouth_flat"
    assert (pairs[0].species, pairs[0].subject) == ("bona_fide", "CLKJ_AS0001")


def test_validation_names_carry_the_modality(tmp_path: Path) -> None:
    for modality, value in (("color", 90), ("depth", 91), ("ir", 92)):
        picture(tmp_path / f"Val/0000/000000-{modality}.jpg", value, channels=3 if modality == "color" else 1)
    names = " ".join(f"Val/0000/000000-{m}.jpg" for m in ("color", "depth", "ir"))
    (tmp_path / "val_private_list.txt").write_text(names + " 0\n")
    pairs = open_casia_surf(tmp_path, form="challenge", split="dev")
    assert (pairs[0].label, pairs[0].species, pairs[0].presentation) == (0, "attack", "Val/0000/000000")


def test_the_release_has_the_other_polarity(tmp_path: Path) -> None:
    real, fake = "Training/real_part/CLKJ_AS0001/real.rssdk", "Training/fake_part/CLKJ_AS0002/02_e_b.rssdk"
    for video in (real, fake):
        triplet(tmp_path / "Data" / video, "0015.jpg", 80)
    lists = tmp_path / "protocol"
    lists.mkdir()
    (lists / "CASIA_SURF@p1_image_train.txt").write_text(f"{real}/color/0015.jpg 0\n{fake}/color/0015.jpg 1\n")
    pairs = open_casia_surf(tmp_path, form="release", split="train", modalities=("ir", "depth"))
    assert [(pairs[i].label, pairs[i].species) for i in range(2)] == [(1, "bona_fide"), (0, "print_cut_eyes_bent")]


def test_a_list_of_another_polarity_is_noticed(challenge: Path) -> None:
    (challenge / "train_list.txt").write_text(row(REAL, "101.jpg", 0) + "\n")
    with pytest.raises(DatasetError, match=r"train_list\.txt, row 1: labelled an attack, but it is in real_part"):
        open_casia_surf(challenge, form="challenge", split="train")


def test_the_full_form_has_no_lists(tmp_path: Path) -> None:
    for kind, video in (("real", "real.rssdk"), ("fake", "03_en_s.rssdk")):
        folder = tmp_path / f"{kind}_part/{kind}_val_part/CLKJ_BS0007/{video}"
        triplet(folder, "101.jpg", 70)
        picture(folder / "color/101_resized.jpg", 1, channels=3)
    pairs = open_casia_surf(tmp_path, form="full", split="dev")
    assert [(pairs[i].label, pairs[i].species) for i in range(len(pairs))] == [
        (1, "bona_fide"),
        (0, "print_cut_eyes_nose_flat"),
    ]


def test_what_is_missing_is_counted_and_too_much_is_refused(challenge: Path) -> None:
    (challenge / FAKE / "ir/101.jpg").unlink()
    pairs = open_casia_surf(challenge, form="challenge", split="train", max_skipped=0.4)
    assert pairs.skipped == {"no ir": 1}
    assert len(pairs) == 2
    with pytest.raises(DatasetError, match=r"1 of 3 listed entries are unusable \(\{'no ir': 1\}\)"):
        open_casia_surf(challenge, form="challenge", split="train")


def test_a_truncated_picture_is_named(challenge: Path) -> None:
    path = challenge / REAL / "ir/101.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    pairs = open_casia_surf(challenge, form="challenge", split="train")
    with pytest.raises(DatasetError, match=r"real\.rssdk/ir/101\.jpg: not a complete single image"):
        pairs[0]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, r"train_list\.txt: the list cannot be read"),
        ("", r"train_list\.txt: the list is empty"),
        ("a b 1\n", r"train_list\.txt:1: 3 columns; expected 4"),
        (row(REAL, "101.jpg", 2), "label '2'"),
        ("color/1.jpg color/2.jpg ir/3.jpg 1\n", "not one each"),
    ],
)
def test_wrong_lists_are_named(challenge: Path, text: str | None, match: str) -> None:
    path = challenge / "train_list.txt"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(DatasetError, match=match):
        open_casia_surf(challenge, form="challenge", split="train")


def test_a_wrong_root_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere: no such folder; expected the root of CASIA-SURF"):
        open_casia_surf(tmp_path / "nowhere", form="full", split="train")
    with pytest.raises(DatasetError, match=r"real_train_part: no such folder"):
        open_casia_surf(tmp_path, form="full", split="train")


def test_the_digest_follows_the_pictures(challenge: Path) -> None:
    pairs = open_casia_surf(challenge, form="challenge", split="train")
    before = pairs.digest()
    assert before == open_casia_surf(challenge, form="challenge", split="train").digest()
    picture(challenge / REAL / "ir/101.jpg", 3)
    assert pairs.digest() != before


@pytest.mark.parametrize(
    ("path", "modality"),
    [
        ("x/profile/0001.jpg", "rgb"),
        ("Val/0000/000000-ir.jpg", "ir"),
        ("depth/color/1.jpg", "rgb"),
        ("a/colour_depth.png", "depth"),
        ("a/b/0001.jpg", None),
        ("irish/0001.jpg", None),
    ],
)
def test_modality_of(path: str, modality: str | None) -> None:
    assert modality_of(path) == modality
