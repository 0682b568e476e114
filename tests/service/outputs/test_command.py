"""The command output: its environment, its time limit, and that only ``live`` runs it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from service.outputs.base import EventExpired, OutputError
from service.outputs.command import CommandOutput
from tests.support.service.output_events import decision, other
from tests.support.waiting import until

SCRIPT = """
import os, sys, pathlib
print("never read"); sys.stdin.read()
pathlib.Path(sys.argv[1]).write_text("\\n".join(f"{k}={v}" for k, v in sorted(os.environ.items())))
"""


def test_it_is_told_the_session_and_nothing_else_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADSN_KIOSK_WEBHOOK__SECRET", "hush")
    out = tmp_path / "said; echo"
    CommandOutput([sys.executable, "-Ic", SCRIPT, str(out)], door="d1", timeout_s=20).send(decision("s7"))
    told = dict(line.split("=", 1) for line in out.read_text().splitlines())
    told.pop("LC_CTYPE", None)
    assert set(told) == {"PATH", "LANG", "ADSN_SESSION", "ADSN_DECISION", "ADSN_DOOR", "ADSN_EXPIRES_IN_MS"}
    assert (told["ADSN_SESSION"], told["ADSN_DECISION"], told["ADSN_DOOR"]) == ("s7", "live", "d1")
    assert 0 < int(told["ADSN_EXPIRES_IN_MS"]) <= 2000


def test_only_a_fresh_live_runs_it(tmp_path: Path) -> None:
    program = CommandOutput(["/usr/bin/touch", str(tmp_path / "ran")])
    assert program.wants(decision())
    for event in (decision(made="spoof"), decision(made="uncertain"), other(), other("health")):
        assert not program.wants(event)
    with pytest.raises(EventExpired):
        program.send(decision(left_s=0))
    assert not (tmp_path / "ran").exists()


def test_one_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"sleep 100 & echo $! > {child}; sleep 100"
    with pytest.raises(OutputError, match="took more than 1 s and was killed"):
        CommandOutput(["/bin/sh", "-c", script], timeout_s=1).send(decision())
    pid = int(child.read_text())

    def gone() -> bool:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            return True
        # A zombie is killed but not yet reaped by the process that inherited it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

    until(gone)


def test_failures_are_told() -> None:
    with pytest.raises(OutputError, match="/nonexistent/opener cannot be started: No such file"):
        CommandOutput(["/nonexistent/opener"]).send(decision())
    with pytest.raises(OutputError, match="failed with exit code 3"):
        CommandOutput(["/bin/sh", "-c", "exit 3"], timeout_s=20).send(decision())
