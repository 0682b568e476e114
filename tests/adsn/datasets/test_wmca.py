"""WMCA: categories, protocols, both packages, and the two presentations with mismatched images."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from adsn.datasets import DatasetError, open_wmca
from adsn.datasets.wmca import FRAMES, PROTOCOLS, category
from tests.support.models.dataset_trees import picture

DATE = "face-station/26.01.18"
LIVE, MASK, SCREEN, BROKEN = "001_01_001_0_00", "001_01_001_1_13", "002_01_001_3_05", "100_03_015_2_10"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("0_00", "bona_fide"),
        ("0_02", "bona_fide"),
        ("1_01", "glasses"),
        ("1_16", "glasses"),
        ("1_02", "rigidmask"),
        ("1_13", "rigidmask"),
        ("1_14", "rigidmask"),
        ("2_07", "fakehead"),
        ("2_08", "papermask"),
        ("2_11", "papermask"),
        ("2_12", "rigidmask"),
        ("2_17", "rigidmask"),
        ("2_18", "flexiblemask"),
        ("2_75", "flexiblemask"),
        ("3_01", "prints"),
        ("3_14", "prints"),
        ("3_05", "replay"),
        ("3_10", "replay"),
        ("3_15", "replay"),
        ("4_01", "replay"),
    ],
)
def test_categories(kind: str, expected: str) -> None:
    assert category(f"001_01_001_{kind}") == expected


def test_names_that_are_none() -> None:
    for name in ("001_01_001_0", "a_b_c_d_e", "001_01_001_7_01"):
        with pytest.raises(DatasetError, match=name):
            category(name)


def protocol(root: Path, name: str, rows: list[tuple[str, str, str]]) -> None:
    """Write rows of presentation, group and label, with the unnamed index column of the original files."""
    lines = [",client_id,filepath,group,label"]
    lines += [f"{i},{p[:3]},{DATE}/{p}.hdf5,{group},{label}" for i, (p, group, label) in enumerate(rows)]
    (root / f"PROTOCOL-{name}.csv").write_text("\n".join(lines) + "\n")


ROWS = [(LIVE, "train", "bonafide"), (MASK, "train", "attack"), (SCREEN, "eval", "attack"), (BROKEN, "train", "attack")]


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    protocol(tmp_path, "grandtest", ROWS)
    for i, name in enumerate((LIVE, MASK, SCREEN, BROKEN)):
        for package, shape in (("CDIT", (4, 128, 128)), ("RGB", (3, 83, 64))):
            path = tmp_path / f"preprocessed-face-station_{package}" / DATE / f"{name}.hdf5"
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                for frame in range(FRAMES):
                    planes = np.arange(shape[0], dtype=np.uint8)[:, None, None] * 20 + 10 * i + frame
                    file[f"Frame_{frame}/array"] = np.broadcast_to(planes, shape).astype(np.uint8)
    return tmp_path


def test_planes_and_colour_of_both_packages(packages: Path) -> None:
    pairs = open_wmca(
        packages, protocol="grandtest", split="train", modalities=("rgb", "ir", "depth"), frames=5, max_skipped=0.4
    )
    assert len(pairs) == 10
    assert pairs.labels().tolist() == [1] * 5 + [0] * 5
    sample = pairs[6]
    # Presentation 1, the second of five frames out of fifty.
    assert (sample.species, sample.subject, sample.presentation) == ("rigidmask", "001", MASK)
    assert set(np.unique(sample.crops["ir"])) == {2 * 20 + 10 + 10}
    assert sample.crops["depth"][0, 0, 0] == pytest.approx(400 + (20 + 20 - 1) * 200 / 254, abs=0.01)
    assert sample.crops["rgb"][56, 56].tolist() == [20, 40, 60]


def test_pictures_of_different_moments_are_left_out_and_counted(packages: Path) -> None:
    pairs = open_wmca(packages, protocol="grandtest", split="train", frames=5, max_skipped=0.4)
    assert pairs.skipped == {"colour and infrared of different moments": 5}
    assert BROKEN not in {entry.presentation for entry in pairs.entries}
    # IR and depth come from one camera, so they match.
    inside = open_wmca(packages, protocol="grandtest", split="train", modalities=("ir", "depth"), frames=5)
    assert BROKEN in {entry.presentation for entry in inside.entries}


def test_the_group_eval_is_the_test_split(packages: Path) -> None:
    pairs = open_wmca(packages, protocol="grandtest", split="test", frames=2)
    assert {(entry.presentation, entry.species) for entry in pairs.entries} == {(SCREEN, "replay")}


def test_the_dump_of_pictures(tmp_path: Path) -> None:
    protocol(tmp_path, "LOO_replay", ROWS[:2])
    for name in (LIVE, MASK):
        for modality in ("color", "depth", "ir", "thermal"):
            for frame in ("0000", "0012"):
                channels = 3 if modality == "color" else 1
                picture(tmp_path / "R_CDIT" / name / modality / f"{frame}.jpg", 90, channels=channels)
    (tmp_path / "R_CDIT" / MASK / "ir" / "0012.jpg").unlink()
    pairs = open_wmca(tmp_path, protocol="LOO_replay", split="train", form="jpeg", max_skipped=0.5)
    assert [(e.presentation, e.species) for e in pairs.entries] == [
        (LIVE, "bona_fide"),
        (LIVE, "bona_fide"),
        (MASK, "rigidmask"),
    ]
    assert pairs.skipped == {"no ir": 1}


def test_there_are_seven_leave_one_out_protocols() -> None:
    assert len(PROTOCOLS) == 8
    with pytest.raises(DatasetError, match="the choices are grandtest, LOO_fakehead"):
        open_wmca(Path("/nowhere"), protocol="LOO", split="train")


def test_wrong_protocol_files_are_named(packages: Path) -> None:
    with pytest.raises(DatasetError, match=r"PROTOCOL-LOO_prints\.csv: the protocol cannot be read"):
        open_wmca(packages, protocol="LOO_prints", split="train")
    protocol(packages, "LOO_prints", [(LIVE, "train", "attack")])
    with pytest.raises(DatasetError, match=r"LOO_prints\.csv:2: label 'attack', yet the name says bona_fide"):
        open_wmca(packages, protocol="LOO_prints", split="train")
    (packages / "PROTOCOL-LOO_prints.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match="no columns"):
        open_wmca(packages, protocol="LOO_prints", split="train")


def test_a_damaged_package_is_named(packages: Path) -> None:
    path = packages / "preprocessed-face-station_CDIT" / DATE / f"{LIVE}.hdf5"
    path.write_bytes(b"not hdf5")
    pairs = open_wmca(packages, protocol="grandtest", split="train", frames=1, max_skipped=0.4)
    with pytest.raises(DatasetError, match=rf"{LIVE}\.hdf5: no array 'Frame_0/array'"):
        pairs[0]
    path.unlink()
    with pytest.raises(DatasetError, match="unusable"):
        open_wmca(packages, protocol="grandtest", split="train", frames=1, max_skipped=0.4)
