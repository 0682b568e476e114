"""CASIA-SURF CeFA: both folder names, the protocols, and identity numbers that must not leak."""

from __future__ import annotations

from pathlib import Path

import pytest

from adsn.datasets import DatasetError, open_cefa
from adsn.datasets.cefa import chosen
from tests.support.models.dataset_trees import triplet

SECRET = "110108199001011234"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number, ethnicity in enumerate(("AF", "CA", "EA"), 1):
        for subject, suffix in (("000", f"-{SECRET}"), ("199", ""), ("200", ""), ("300", ""), ("499", "")):
            colour = "profile" if ethnicity == "AF" else "color"
            for device, pai in (("1_1", 1), ("1_1", 2), ("1_2", 2), ("1_1", 4)):
                video = tmp_path / ethnicity / f"{ethnicity}-{subject}{suffix}" / f"{number}_{subject}_{device}_{pai}"
                for name in ("0001.jpg", "0002.jpg"):
                    triplet(video, name, 60, colour)
                (video / colour / "0001_resized.jpg").write_bytes(b"x")
    for name in ("1_007_1_0_1_1_1", "1_007_1_1_1_1_2"):
        triplet(tmp_path / "3D-Mask" / "007" / name, "0001.jpg", 60)
    triplet(tmp_path / "Silicone-Mask" / "2_003_1_0_2_1_1", "0001.jpg", 60)
    return tmp_path


def kinds(root: Path, protocol: str, split: str) -> set[tuple[str, str]]:
    pairs = open_cefa(root, protocol=protocol, split=split)  # type: ignore[arg-type]  # parametrised
    return {(entry.subject, entry.species) for entry in pairs.entries}


def test_subjects_are_split_by_number(tree: Path) -> None:
    assert {s for s, _ in kinds(tree, "all", "train")} == {
        f"{e}-{n}" for e in ("AF", "CA", "EA") for n in ("000", "199")
    }
    assert {s for s, _ in kinds(tree, "all", "dev")} == {f"{e}-200" for e in ("AF", "CA", "EA")}
    tests = {s for s, _ in kinds(tree, "all", "test")}
    assert {f"{e}-{n}" for e in ("AF", "CA", "EA") for n in ("300", "499")} < tests
    assert ("3D-Mask-007", "mask_3d") in kinds(tree, "all", "test")
    assert ("Silicone-Mask-003", "mask_silicone") in kinds(tree, "all", "test")
    assert not any(species.startswith("mask") for _, species in kinds(tree, "all", "dev"))


def test_protocol_1_crosses_ethnicity(tree: Path) -> None:
    assert kinds(tree, "1.2", "train") == {
        (f"CA-{n}", s) for n in ("000", "199") for s in ("bona_fide", "print_cloth", "replay_screen")
    }
    people = {s[:2] for s, species in kinds(tree, "1.2", "test") if not species.startswith("mask")}
    assert people == {"AF", "EA"}


def test_protocol_2_crosses_instruments(tree: Path) -> None:
    assert {species for _, species in kinds(tree, "2.1", "train")} == {"bona_fide", "print_cloth"}
    assert {species for _, species in kinds(tree, "2.1", "test")} == {
        "bona_fide",
        "replay_screen",
        "mask_3d",
        "mask_silicone",
    }


def test_protocol_4_crosses_both(tree: Path) -> None:
    # With all 200 subjects these are the 400 videos stated by the authors: one bona fide and one replay of each
    # subject.
    assert kinds(tree, "4.1", "train") == {
        (f"AF-{n}", s) for n in ("000", "199") for s in ("bona_fide", "replay_screen")
    }
    found = {(s[:2], species) for s, species in kinds(tree, "4.1", "test") if not species.startswith("mask")}
    assert found == {(e, s) for e in ("CA", "EA") for s in ("bona_fide", "print_cloth")}


def test_a_video_is_a_presentation(tree: Path) -> None:
    pairs = open_cefa(tree, protocol="1.1", split="train")
    videos = {entry.presentation for entry in pairs.entries}
    assert len(videos) == 2 * 4
    assert len(pairs) == 16
    assert len(open_cefa(tree, protocol="1.1", split="train", frames=1)) == 8


def test_no_identity_number_leaves_the_reader(tree: Path) -> None:
    pairs = open_cefa(tree, protocol="1.1", split="train")
    for i in range(len(pairs)):
        sample = pairs[i]
        assert SECRET not in f"{sample.subject} {sample.presentation} {sample.species} {sample.sensor} {pairs.name}"
    broken = next(tree.glob(f"AF/AF-000-{SECRET}/*_1_1_1/ir/0001.jpg"))
    broken.write_bytes(b"not a picture")
    at = next(i for i, entry in enumerate(pairs.entries) if entry.frames["ir"].path == broken)
    with pytest.raises(DatasetError, match=r"AF/AF-000/.*0001\.jpg") as caught:
        pairs[at]
    assert SECRET not in str(caught.value)
    for colour in list(tree.glob(f"AF/AF-000-{SECRET}/*/profile")):
        colour.rename(colour.with_name("rgb8"))
    with pytest.raises(DatasetError, match="neither") as caught:
        open_cefa(tree, protocol="1.1", split="train")
    assert SECRET not in str(caught.value)


def test_the_challenge_lists(tmp_path: Path) -> None:
    for video in ("1_000_1_1_1", "1_000_3_1_4"):
        triplet(tmp_path / "train" / video, "0001.jpg", 60, "profile")
    triplet(tmp_path / "dev" / "003000", "0001.jpg", 60, "profile")
    (tmp_path / "4@1_train.txt").write_text(
        "train/1_000_1_1_1/profile/0001.jpg 1\ntrain/1_000_3_1_4/profile/0001.jpg 0\n"
    )
    (tmp_path / "4@1_dev_ref.txt").write_text("dev/003000 0\n")
    train = open_cefa(tmp_path, protocol="challenge.1", split="train")
    assert [(e.species, e.subject, e.presentation) for e in train.entries] == [
        ("bona_fide", "AF-000", "1_000_1_1_1"),
        ("replay_screen", "AF-000", "1_000_3_1_4"),
    ]
    dev = open_cefa(tmp_path, protocol="challenge.1", split="dev")
    assert [(e.species, e.presentation) for e in dev.entries] == [("attack", "003000")]
    (tmp_path / "4@1_train.txt").write_text("train/1_000_1_1_1/profile/0001.jpg 0\n")
    with pytest.raises(DatasetError, match="means bona_fide"):
        open_cefa(tmp_path, protocol="challenge.1", split="train")
    with pytest.raises(DatasetError, match="no labels"):
        open_cefa(tmp_path, protocol="challenge.1", split="test")


@pytest.mark.parametrize(
    ("protocol", "match"),
    [("3.1", "not supported"), ("5.1", "not supported"), ("6", "choose all"), ("1.4", "choose all")],
)
def test_protocols_that_cannot_be_served(protocol: str, match: str) -> None:
    with pytest.raises(DatasetError, match=match):
        chosen(protocol, "train")


def test_a_missing_ethnicity_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"AF: no such folder; expected the subjects"):
        open_cefa(tmp_path, protocol="all", split="train")
