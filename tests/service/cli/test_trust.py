"""``adsn-serve key``, ``keygen``, ``verify`` and ``audit verify`` as a user runs them, and the examples of
docs/security.md."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature

from runtime import __version__
from service.audit.attestation import Attester
from service.audit.jws import Signer
from service.audit.lines import link_of, parse_line
from service.auth.keys import KeyRing, read_keys
from service.cli.serve import main
from tests.support.service.answers import answer
from tests.support.service.audit_logs import edit, fill

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "security.md").read_text()


@dataclass(frozen=True, slots=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def call(*words: str | Path, stdin: str = "") -> Done:
    """Run the console script adsn-serve in this process, because a separate process takes a second each time."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["adsn-serve", *map(str, words)])
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as caught:
            main()
    return Done(int(caught.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    private = tmp_path_factory.mktemp("keys") / "device.pem"
    done = call("keygen", "--out", private)
    assert done.returncode == 0, done.stderr
    again = call("keygen", "--out", private)
    assert (again.returncode, "already" in again.stderr) == (78, True)
    return private, private.with_suffix(".pub.pem")


def test_a_key_goes_to_the_terminal_and_its_lines_to_the_file(tmp_path: Path) -> None:
    done = call("key", "new", "--role", "score", "--role", "metrics", "--name", "gate 3", "--expires", "2031-12-31")
    assert done.returncode == 0, done.stderr
    key = re.findall(r"adsn_[0-9a-f]{12}_\S{43}", done.stderr)[0]
    assert key not in done.stdout
    file = tmp_path / "keys.toml"
    file.write_text(done.stdout)
    file.chmod(0o600)
    entries = read_keys(file)
    caller = KeyRing(entries).find(key, entries[0].expires or pytest.fail("no last day"))
    assert caller is not None
    assert (caller.name, caller.roles) == (f"gate 3 ({entries[0].id})", frozenset({"score", "metrics"}))


@pytest.mark.parametrize(
    "words",
    [
        ("--role", "root"),
        ("--role", "score", "--expires", "soon"),
        ("--role", "score", "--expires", "2020-02-29"),
        ("--role", "score", "--name", "a\nb"),
    ],
)
def test_a_key_that_cannot_be(words: tuple[str, ...]) -> None:
    done = call("key", "new", *words)
    assert done.returncode == 78
    assert "adsn_" not in done.stderr + done.stdout


def test_only_live_for_the_right_question_ends_with_0(keys: tuple[Path, Path]) -> None:
    private, public = keys
    attester, now = Attester(Signer(private), "gate-3"), int(time.time())
    live, spoof = (attester.attest(answer(decision), "n-1", now) for decision in ("live", "spoof"))

    def code(token: str, *words: str) -> int:
        return call("verify", token, "--public-key", public, *words).returncode

    shown = call("verify", live, "--public-key", public, "--nonce", "n-1", "--device", "gate-3")
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["decision"] == "live"
    assert call("verify", "-", "--public-key", public, "--nonce", "n-1", stdin=live + "\n").returncode == 0
    assert code(live, "--nonce", "n-2") == 1
    assert code(live[:-4] + "AAAA", "--nonce", "n-1") == 1
    assert code(attester.attest(answer(), "n-1", now - 3600), "--nonce", "n-1") == 1
    assert code(spoof, "--nonce", "n-1") == 1
    assert code(spoof, "--nonce", "n-1", "--any-decision") == 0
    assert call("verify", live, "--public-key", private).returncode == 78


def test_an_audit_log_and_its_first_wrong_line(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 6, Signer(keys[0]), checkpoint_every=3)
    good = call("audit", "verify", path, "--public-key", keys[1])
    assert good.returncode == 0, good.stderr
    report = json.loads(good.stdout)
    assert (report["decisions"], report["checkpoints"]) == (6, 3)
    noted = path.read_bytes().splitlines()[3]
    link = link_of(noted, parse_line(noted) or {})
    words = ("--expect-seq", str(link.seq), "--expect-digest")
    assert call("audit", "verify", path, *words, link.digest).returncode == 0
    assert call("audit", "verify", path, *words, "0" * 64).returncode == 1
    cut = call("audit", "verify", path, "--expect-seq", "99")
    assert (cut.returncode, "later lines are missing" in cut.stderr) == (1, True)
    edit(path, lambda found: found.__setitem__(3, found[3].replace(b"uncertain", b"live")))
    bad = call("audit", "verify", path)
    assert (bad.returncode, f"{path}, line 5" in bad.stderr) == (1, True)


def test_a_folder_of_logs(tmp_path: Path) -> None:
    for number in (1, 2):
        fill(tmp_path / f"{number}.jsonl", 3, replica=f"pod-{number}")
    good = call("audit", "verify", tmp_path)
    assert good.returncode == 0
    told = json.loads(good.stdout)
    assert told["decisions"] == 6
    assert [chain["replica"] for chain in told["chains"].values()] == ["pod-1", "pod-2"]
    assert call("audit", "verify", tmp_path, "--expect-seq", "3").returncode == 78
    fill(tmp_path / "3.jsonl", 1, replica="pod-1")
    assert "several logs name the replica pod-1" in call("audit", "verify", tmp_path).stderr
    edit(tmp_path / "2.jsonl", lambda found: found.__setitem__(2, found[2].replace(b"uncertain", b"live")))
    bad = call("audit", "verify", tmp_path)
    assert (bad.returncode, f"{tmp_path / '2.jsonl'}, line 4" in bad.stderr) == (1, True)
    assert json.loads(bad.stdout)["decisions"] == 4


def test_without_a_commands_name_it_serves() -> None:
    assert "--port" in call("--help").stdout
    assert call("--version").stdout.strip() == f"adsn {__version__}"
    assert call("--check-config").returncode == 0
    assert call("--check-config", "--host", "0.0.0.0").returncode == 78


# Run the page's examples.


def block(language: str, starting: str) -> str:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", DOCS, re.S)
    return next(block for block in found if block.startswith(starting))


def cases(private: Path) -> list[tuple[str, str, str, bool]]:
    """Return tokens, the nonce and the device that the verifier expects, and whether each token must be accepted."""
    attester, now = Attester(Signer(private), "gate-3"), int(time.time())
    token = attester.attest(answer(), "n-1", now)
    head, claims, signature = token.split(".")
    other = attester.attest(answer("spoof"), "n-1", now)
    return [
        (token, "n-1", "gate-3", True),
        (token, "n-2", "gate-3", False),
        (token, "n-1", "gate-4", False),
        (f"{head}.{other.split('.')[1]}.{signature}", "n-1", "gate-3", False),
        (f"{head}.{claims}.", "n-1", "gate-3", False),
        (attester.attest(answer(), "n-1", now - 3600), "n-1", "gate-3", False),
        (attester.attest(answer(), "n-1", now + 3600), "n-1", "gate-3", False),
        (attester.signer.sign("adsn-audit+jws", {"decision": "live"}), "n-1", "gate-3", False),
    ]


def test_the_python_that_the_page_shows(keys: tuple[Path, Path]) -> None:
    scope: dict[str, Any] = {}
    exec(block("python", "import base64"), scope)
    for token, nonce, device, good in cases(keys[0]):
        if good:
            assert scope["verify"](token, keys[1].read_bytes(), nonce, device)["decision"] == "live"
        else:
            with pytest.raises((ValueError, InvalidSignature)):
                scope["verify"](token, keys[1].read_bytes(), nonce, device)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_javascript_that_the_page_shows(keys: tuple[Path, Path]) -> None:
    script = block("js", "const crypto") + (
        "const [cases, pem] = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));"
        "const found = cases.map(([token, nonce, device]) => {"
        " try { return verify(token, pem, nonce, device).decision === 'live'; }"
        " catch { return false; } });"
        "console.log(JSON.stringify(found));"
    )
    given = cases(keys[0])
    done = subprocess.run(
        ["node", "-e", script],
        input=json.dumps([given, keys[1].read_text()]),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [good for _, _, _, good in given]
