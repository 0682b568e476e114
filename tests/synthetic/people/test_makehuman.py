from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synthetic.people.head import Expression
from synthetic.people.makehuman import (
    RESERVED_FROM,
    VARIABLE,
    Library,
    MakeHumanError,
    figure_of,
    open_library,
    person_of,
)
from synthetic.people.makehuman.files import read_proxy, read_target
from synthetic.people.makehuman.library import choices
from tests.support.makehuman import make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("makehuman"))


@pytest.fixture(scope="module")
def library(folder: Path) -> Library:
    return open_library(str(folder))


def test_a_quad_becomes_two_triangles_and_a_seam_doubles_nothing_here(library: Library) -> None:
    assert len(library.base.triangles["body"]) == 2 * 29 * 29
    assert library.base.uv.shape == (len(library.base.corners), 2)


def test_plain_files_in_a_subfolder_give_the_same_people(tmp_path: Path, library: Library) -> None:
    plain = open_library(str(make_folder(tmp_path / "clone" / "base", packed=False).parent))
    assert np.array_equal(plain.base.vertices, library.base.vertices)
    first, second = (person_of(lib, 7) for lib in (plain, library))
    assert (first.weights, first.skin, first.hair) == (second.weights, second.skin, second.hair)


def test_assets_may_lie_in_several_folders(tmp_path: Path, folder: Path) -> None:
    own = tmp_path / "own" / "hair" / "mine"
    own.mkdir(parents=True)
    for path in (folder / "hair" / "short01").iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    joined = open_library(f"{folder}:{tmp_path / 'own'}")
    assert {"short01/short01", "mine/short01"} <= set(joined.proxies("hair"))


def test_a_subject_is_the_same_person_every_time_and_differs_from_the_next(library: Library) -> None:
    people = [person_of(library, k) for k in range(20)]
    assert people == [person_of(Library(library.folders), k) for k in range(20)]
    assert len({p.weights for p in people}) == 20


def test_skins_hair_and_morphs_are_held_back_for_testing(library: Library) -> None:
    training = [person_of(library, k) for k in range(150)]
    testing = [person_of(library, RESERVED_FROM + k) for k in range(150)]
    assert not {p.skin for p in training} & {p.skin for p in testing}
    seen, unseen = ({name for p in side for name, _ in p.weights if "nose" in name} for side in (training, testing))
    assert unseen - seen


def test_a_wearer_can_be_drawn_from_either_side(library: Library) -> None:
    wearer = person_of(library, 1 << 20, reserved=False)
    assert wearer.skin in {person_of(library, k).skin for k in range(150)}


def test_choices_never_leave_a_side_empty() -> None:
    assert choices(["a"], reserved=True) == choices(["a"], reserved=False) == ["a"]
    assert choices([], reserved=True) == []
    assert not set(choices(list("abcdef"), reserved=True)) & set(choices(list("abcdef"), reserved=False))


def test_macro_weights_of_sex_age_and_ancestry_sum_to_one(library: Library) -> None:
    for subject in range(30):
        shares = [v for name, v in person_of(library, subject).weights if name.count("-") == 2 and "macro" in name]
        assert sum(shares) == pytest.approx(1, abs=2e-3)


def test_an_open_mouth_moves_the_lower_lip_only_by_the_unit(library: Library) -> None:
    person = person_of(library, 3)
    still = figure_of(library, person, Expression())
    opened = figure_of(library, person, Expression(open_mouth=1.0))
    moved = np.abs(opened.skin.vertices - still.skin.vertices).max(1)
    assert (moved > 0.01).sum() == 2
    assert moved.max() == pytest.approx(5.5, abs=0.01)
    assert np.array_equal(still.landmarks["mouth"], opened.landmarks["mouth"])


def test_eyes_lie_left_and_right_of_the_origin_and_look_where_the_gaze_is(library: Library) -> None:
    figure = figure_of(library, person_of(library, 1), Expression(gaze=(3.0, 0.0)))
    left, right = figure.eyes
    assert left.centre == pytest.approx([31, 0, 0], abs=0.01)
    assert right.centre == pytest.approx([-31, 0, 0], abs=0.01)
    assert left.radius == pytest.approx(14, abs=0.01)
    assert left.gaze[0] > 0.2


def test_a_proxy_vertex_is_the_weighted_mean_plus_the_scaled_offset(folder: Path, library: Library) -> None:
    proxy = read_proxy(folder / "hair" / "short01" / "short01.mhclo")
    base = library.base.vertices
    fitted = proxy.fit(base)
    assert fitted[0] == pytest.approx(base[100])
    mean = 0.5 * base[101] + 0.25 * base[102] + 0.25 * base[103]
    # The sheet is 1.6 wide, twice the file's reference, so the offset doubles.
    assert fitted[1] == pytest.approx(mean + np.array([0.2, 0, 0]), abs=1e-5)
    assert sorted(proxy.hidden) == [200, 201, 202, 203, 210]


def test_an_empty_morph_is_the_neutral_one(tmp_path: Path) -> None:
    path = tmp_path / "neutral.target"
    path.write_text("# nothing\n")
    assert read_target(path).offset.shape == (0, 3)


def _without_base(root: Path) -> str:
    next((root / "3dobjs").iterdir()).unlink()
    return "3dobjs/base.obj"


def _small_base(root: Path) -> str:
    next((root / "3dobjs").iterdir()).unlink()
    (root / "3dobjs" / "base.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\ng body\nf 1 2 3\n")
    return "hm08"


def _broken_base(root: Path) -> str:
    next((root / "3dobjs").iterdir()).unlink()
    (root / "3dobjs" / "base.obj").write_text("v 0 0 0\nf one two\n")
    return "base.obj:2"


def _no_skins(root: Path) -> str:
    for path in (root / "skins" / "textures").iterdir():
        path.unlink()
    return "skins"


def _no_targets(root: Path) -> str:
    (root / "targets").rename(root / "elsewhere")
    return "targets"


@pytest.mark.parametrize("spoil", [_without_base, _small_base, _broken_base, _no_skins, _no_targets])
def test_what_is_missing_is_said_in_one_line(tmp_path: Path, spoil: Callable[[Path], str]) -> None:
    word = spoil(make_folder(tmp_path))
    with pytest.raises(MakeHumanError, match=word) as caught:
        person_of(open_library(str(tmp_path)), 0)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_named_or_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(MakeHumanError, match=VARIABLE):
        open_library()
    with pytest.raises(MakeHumanError, match="no such folder"):
        open_library(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("x.mhclo", "name x\nverts 0\n 5\n", "no mesh"),
        ("x.mhclo", "obj_file x.obj\nverts 0\n 1 2 3 0.5\n", "x.mhclo:3"),
    ],
)
def test_a_damaged_proxy_is_named(tmp_path: Path, name: str, text: str, word: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(MakeHumanError, match=word):
        read_proxy(path)


def test_a_damaged_morph_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bent.target"
    path.write_text("5 0.1 0.2\n")
    with pytest.raises(MakeHumanError, match=r"bent\.target"):
        read_target(path)
