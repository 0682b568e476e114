"""``python -m adsn.cli.counterfactual_render`` and ``adsn-eval --counterfactual``: an error gives a single line."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

from runtime.liveness.open import default_bundle
from synthetic.people.makehuman import VARIABLE

RENDER, EVAL = "adsn.cli.counterfactual_render", "adsn.cli.evaluate"


def refusal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], program: str, *arguments: object
) -> str:
    """Run a command that refuses its arguments, and return the only line on standard error."""
    monkeypatch.setattr("os.nice", lambda by: 0)
    monkeypatch.setattr(sys, "argv", [program, *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        import_module(program).main()
    out, err = capfd.readouterr()
    assert (ended.value.code, out) == (78, "")
    (line,) = err.strip().splitlines()
    assert line.startswith("error: ")
    return str(line)


@pytest.mark.parametrize(
    ("arguments", "assets", "words"),
    [
        ((), None, VARIABLE),
        ((), "/nowhere/at/all", "/nowhere/at/all: no such folder"),
        (("--species", "mask_of_wax"), None, "cannot render 'mask_of_wax'; it can: bona_fide, "),
        (("--attribute", "beard"), None, "cannot change 'beard' alone; it can: glasses, "),
        (("--part", "2/2"), None, "--part 2/2: expected k/n"),
        (("--part", "half"), None, "--part half: expected k/n"),
    ],
)
def test_the_background_command_refuses_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    assets: str | None,
    words: str,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if assets is not None:
        monkeypatch.setenv(VARIABLE, assets)
    assert words in refusal(monkeypatch, capfd, RENDER, tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--counterfactual", 2, "--renderer", "pathtraced"), VARIABLE),
        (("--counterfactual", 2, "--renderer", "pathtraced", "--attribute", "background"), "'background' alone"),
        (("--counterfactual", 2, "--species", "mask_relief"), "the renderer fast cannot render 'mask_relief'"),
        (("--counterfactual", 2, "--renderer", "slow"), "--renderer is fast or pathtraced, not 'slow'"),
        (("--species", "partial"), "give --counterfactual N as well"),
    ],
)
def test_an_evaluation_refuses_before_it_scores(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[object, ...],
    words: str,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    line = refusal(monkeypatch, capfd, EVAL, default_bundle(), "--cache", tmp_path / "cache", *arguments)
    assert words in line
    assert not any((tmp_path / "cache").iterdir())
