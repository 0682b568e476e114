"""MakeHuman people with the head shapes of the other sources: generated assets and a generated face model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthetic import FaceModelError
from synthetic.people.head import Expression
from synthetic.people.identity import identity_of
from synthetic.people.makehuman import Library, person_of
from synthetic.people.makehuman.figure import base_vertices, figure_of
from synthetic.people.makehuman.head_shape import analytic, eye_centres, mean_head, registration, reshaped, scanned
from synthetic.people.scan import VARIABLE
from tests.support.face_model import write_face_model
from tests.support.makehuman import make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("makehuman"))


@pytest.fixture
def library(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Return assets with a face model beside them."""
    monkeypatch.setenv(VARIABLE, str(write_face_model(tmp_path / "model.npz")))
    found = Library((folder,))
    assert found.face_model is not None
    return found


@pytest.fixture
def plain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.delenv(VARIABLE, raising=False)
    return Library((folder,))


def test_the_shares_of_the_sources_hold(library: Library) -> None:
    shapes = [person_of(library, subject).shape for subject in range(2000)]
    assert 0.22 < shapes.count("scan") / 2000 < 0.28
    assert 0.12 < shapes.count("analytic") / 2000 < 0.18


def test_a_person_has_one_shape_and_it_changes_nothing_else(library: Library, plain: Library) -> None:
    for subject in range(60):
        with_model, without = person_of(library, subject), person_of(plain, subject)
        assert without.shape in (with_model.shape, "makehuman")
        assert (without.shape == with_model.shape) == (with_model.shape != "scan")
        assert (with_model.weights, with_model.skin, with_model.hair) == (without.weights, without.skin, without.hair)


def test_a_set_of_pairs_knows_which_face_model_it_was_rendered_with(library: Library, plain: Library) -> None:
    assert library.digest() != plain.digest()


def test_a_face_model_that_is_named_and_missing_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere/model.npz")
    with pytest.raises(FaceModelError, match=r"/nowhere/model\.npz"):
        person_of(Library((folder,)), 3)


def of_shape(library: Library, shape: str, count: int) -> list[int]:
    return [subject for subject in range(400) if person_of(library, subject).shape == shape][:count]


@pytest.mark.parametrize("shape", ["scan", "analytic"])
def test_a_figure_of_another_shape_is_sound_and_its_eyes_are_the_origin(library: Library, shape: str) -> None:
    for subject in of_shape(library, shape, 3):
        figure = figure_of(library, person_of(library, subject), Expression(smile=0.5, open_mouth=0.5))
        assert np.isfinite(figure.skin.vertices).all()
        middle = (figure.eyes[0].centre + figure.eyes[1].centre) / 2
        assert middle == pytest.approx(np.zeros(3), abs=0.01)
        assert figure.eyes[0].centre[0] > 20 > -20 > figure.eyes[1].centre[0]


def test_an_analytic_head_has_its_identitys_proportions(plain: Library) -> None:
    head = mean_head(plain)
    base = plain.base.vertices
    lower = (head.points[:, 1] < -70) & (head.points[:, 1] > -108)
    assert lower.any()
    for subject in range(12):
        who = identity_of(subject)
        moved = analytic(plain, who)
        vertices = reshaped(plain, base, moved)
        centres = eye_centres(plain, vertices)
        assert 100 * (centres[0, 0] - centres[1, 0]) == pytest.approx(2 * who.eye_x, abs=0.5)
        assert moved.shape == head.points.shape
        # Between mouth and chin, heights are the analytic head's.
        between = [who.eye_y - who.chin + 9, who.eye_y - who.mouth_y]
        assert moved[lower, 1] == pytest.approx(np.interp(head.points[lower, 1], [-111.0, -67.0], between), abs=0.5)


def test_a_scan_derived_head_moves_as_the_face_model_does(library: Library) -> None:
    head, model = mean_head(library), library.face_model
    assert model is not None
    registered = registration(library).points
    for subject in (2, 3):
        offset = (model.shape(subject) - model.neutral)[0] * np.array([1, -1, 1])
        # The generated model moves its whole dome alike, and leaves its eyeballs where they are.
        moved = scanned(library, subject) - registered
        far = np.min([np.linalg.norm(registered - eye, axis=1) for eye in head.eyes], axis=0) > 32
        assert moved[far].mean(0) == pytest.approx(offset, abs=0.05)
        near = np.min([np.linalg.norm(registered - eye, axis=1) for eye in head.eyes], axis=0) < 14
        assert np.abs(moved[near]).max() < 0.05


def test_below_the_neck_everything_stays(plain: Library) -> None:
    person = person_of(plain, of_shape(plain, "analytic", 1)[0])
    vertices = base_vertices(plain, person, None)
    low = plain.base.vertices[:, 1] < 4
    assert low.any()
    assert np.abs(vertices[low] - plain.base.vertices[low]).max() < 0.1
    assert np.abs(vertices - plain.base.vertices).max() > 0.02
