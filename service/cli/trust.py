"""``adsn-serve key``, ``keygen``, ``verify`` and ``audit verify``: making keys, and checking what was signed or
written."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from runtime.bundle.signature import write_key_pair
from runtime.cli.command import FAILURE, group
from runtime.core.errors import AuditBroken, ConfigError
from service.audit.attestation import verify_attestation
from service.audit.jws import Verifier
from service.audit.verify import AuditReport, check_audit, check_folder
from service.auth.keys import CALLER_ROLES, new_key, toml_of

Roles = Annotated[
    list[str], typer.Option("--role", help=f"What its owner may do: {', '.join(CALLER_ROLES)}. Repeatable.")
]
Name = Annotated[str, typer.Option(help="Whose it is; shown in logs.")]
Expires = Annotated[str | None, typer.Option(help="Its last day, e.g. 2027-01-31 (UTC).")]
Out = Annotated[Path, typer.Option(help="File for the private key; the public one goes beside it.")]
Token = Annotated[str, typer.Argument(help="The attestation; - reads it from standard input.")]
PublicKey = Annotated[Path, typer.Option(help="The device's public key (PEM).")]
MaybeKey = Annotated[
    Path | None, typer.Option("--public-key", help="The device's public key (PEM): checks checkpoints.")
]
Nonce = Annotated[str | None, typer.Option(help="The nonce that was asked with; another one is refused.")]
Device = Annotated[str | None, typer.Option(help="The device that must have signed.")]
AnyDecision = Annotated[bool, typer.Option("--any-decision", help="Exit with 0 for spoof and uncertain too.")]
Log = Annotated[
    Path,
    typer.Argument(
        help="The audit log; closed files beside it are checked with it. Or a folder with the logs of several replicas."
    ),
]
Seq = Annotated[int | None, typer.Option(help="The last line must have this number, or a later one.")]
Digest = Annotated[str | None, typer.Option(help="With --expect-seq: that line's SHA-256.")]

keys = group("API keys.")
audit = group("The audit log.")


@keys.command("new")
def key_new(role: Roles, name: Name = "", expires: Expires = None) -> None:
    """Make a key. It is shown once, on standard error; the lines for the file of keys go to standard output."""
    wrong = [one for one in role if one not in CALLER_ROLES]
    if wrong:
        raise ConfigError(f"there is no role {wrong[0]!r}; there are {', '.join(CALLER_ROLES)}.")
    try:
        until = date.fromisoformat(expires) if expires else None
    except ValueError as error:
        raise ConfigError(f"{expires!r} is no day; write it as 2027-01-31.") from error
    today = datetime.now(timezone.utc).date()
    if until is not None and until < today:
        raise ConfigError(f"{until} is past, so the key would never be accepted; today is {today} (UTC).")
    if len(name) > 64 or not name.isprintable():
        raise ConfigError("a name is up to 64 printable characters.")
    key, entry = new_key([one for one in CALLER_ROLES if one in role], name, until)
    # Apart, so that >> keeps the key out of the file and a terminal shows both.
    typer.echo(f"the key, shown this once: {key}", err=True)
    typer.echo(toml_of(entry))


def keygen(out: Out = Path("device.pem")) -> None:
    """Make the Ed25519 key that signs attestations and checkpoints. Nothing is written over."""
    public = write_key_pair(out)
    typer.echo(f"{out} stays on this device; give {public} to whoever verifies. Key id {Verifier(public).key_id}")


def verify(
    token: Token,
    public_key: PublicKey,
    nonce: Nonce = None,
    device: Device = None,
    any_decision: AnyDecision = False,
) -> None:
    """Check an attestation and print its claims. Exit code 0 for a valid one that says live, and for nothing else."""
    given = sys.stdin.read() if token == "-" else token
    claims = verify_attestation(given, Verifier(public_key), int(time.time()), nonce=nonce, device=device)
    typer.echo(json.dumps(claims.model_dump(), indent=1))
    if nonce is None:
        typer.echo("no --nonce was given: this may be an answer to an older question.", err=True)
    if not claims.live and not any_decision:
        typer.echo(f"valid, and the decision is {claims.decision}.", err=True)
        raise typer.Exit(FAILURE)


@audit.command("verify")
def audit_verify(path: Log, public_key: MaybeKey = None, expect_seq: Seq = None, expect_digest: Digest = None) -> None:
    """Check an audit log, or each log in a folder, and say which line is the first that is wrong."""
    verifier = Verifier(public_key) if public_key is not None else None
    if path.is_dir():
        if expect_seq is not None or expect_digest is not None:
            raise ConfigError(f"--expect-seq and --expect-digest are of one log, and {path} is a folder. Name the log.")
        _verify_folder(path, verifier)
        return
    report = check_audit(path, verifier, watch_seq=expect_seq)
    if expect_seq is not None and report.last.seq < expect_seq:
        raise AuditBroken(
            f"{path}: ends with line number {report.last.seq}; {expect_seq} was expected: its end is gone."
        )
    if expect_seq is not None and expect_digest is not None and report.watched != expect_digest:
        raise AuditBroken(f"{path}: line number {expect_seq} is not the one whose digest was noted; it was made anew.")
    typer.echo(json.dumps(_shown(report), indent=1))
    if public_key is None and report.checkpoints:
        typer.echo("checkpoints were not verified: no --public-key was given.", err=True)


def _verify_folder(folder: Path, verifier: Verifier | None) -> None:
    found = check_folder(folder, verifier)
    chains = {name: _shown(report) for name, report in found.chains.items()}
    decisions = sum(report.decisions for report in found.chains.values())
    typer.echo(json.dumps({"chains": chains, "decisions": decisions}, indent=1))
    for replica in found.named_twice:
        typer.echo(f"several logs are of the replica {replica}; give each its own name (audit.replica).", err=True)
    if verifier is None and any(report.checkpoints for report in found.chains.values()):
        typer.echo("checkpoints were not verified: no --public-key was given.", err=True)
    if found.broken:
        raise AuditBroken("\n".join(found.broken))


def _shown(report: AuditReport) -> dict[str, Any]:
    """What is printed of a report."""
    shown = asdict(report)
    del shown["watched"], shown["begin"]
    return shown


def add_to(app: typer.Typer) -> None:
    """Add these commands to ``adsn-serve``."""
    app.add_typer(keys, name="key")
    app.add_typer(audit, name="audit")
    app.command("keygen")(keygen)
    app.command("verify")(verify)
