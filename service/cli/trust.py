"""``adsn-serve key``, ``keygen``, ``verify`` and ``audit verify``: create keys, verify attestations and logs."""

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

Roles = Annotated[list[str], typer.Option("--role", help=f"Role of the key: {', '.join(CALLER_ROLES)}. Repeatable.")]
Name = Annotated[str, typer.Option(help="Owner of the key, for the logs.")]
Expires = Annotated[str | None, typer.Option(help="Last day on which the key is accepted, e.g. 2027-01-31 (UTC).")]
Out = Annotated[Path, typer.Option(help="File for the private key; the public key is written next to it.")]
Token = Annotated[str, typer.Argument(help="The attestation, or - to read it from standard input.")]
PublicKey = Annotated[Path, typer.Option(help="The device's public key (PEM).")]
MaybeKey = Annotated[
    Path | None, typer.Option("--public-key", help="The device's public key (PEM), to verify checkpoints.")
]
Nonce = Annotated[str | None, typer.Option(help="The nonce that the request had; the attestation must contain it.")]
Device = Annotated[str | None, typer.Option(help="Name of the device that must have issued the attestation.")]
AnyDecision = Annotated[
    bool, typer.Option("--any-decision", help="Exit with 0 for valid spoof and uncertain attestations too.")
]
Log = Annotated[
    Path,
    typer.Argument(
        help="The audit log (its closed files are checked too), or a folder with the logs of several replicas."
    ),
]
Seq = Annotated[int | None, typer.Option(help="Sequence number that the last line must have at least.")]
Digest = Annotated[str | None, typer.Option(help="With --expect-seq: SHA-256 of that line.")]

keys = group("Make API keys.")
audit = group("Verify audit logs.")


@keys.command("new")
def key_new(role: Roles, name: Name = "", expires: Expires = None) -> None:
    """Make a key. Prints the key once, to standard error, and its entry for the key file to standard output."""
    wrong = [one for one in role if one not in CALLER_ROLES]
    if wrong:
        raise ConfigError(f"unknown role {wrong[0]!r}; the roles are {', '.join(CALLER_ROLES)}.")
    try:
        until = date.fromisoformat(expires) if expires else None
    except ValueError as error:
        raise ConfigError(f"{expires!r} is not a date. Write it as 2027-01-31.") from error
    today = datetime.now(timezone.utc).date()
    if until is not None and until < today:
        raise ConfigError(f"{until} is in the past; today is {today} (UTC). Give a later day.")
    if len(name) > 64 or not name.isprintable():
        raise ConfigError("a name must have at most 64 printable characters.")
    key, entry = new_key([one for one in CALLER_ROLES if one in role], name, until)
    # The key and its entry go to separate streams, so that ``>>`` writes only the entry to the file and a terminal
    # shows both.
    typer.echo(f"the key, shown only once: {key}", err=True)
    typer.echo(toml_of(entry))


def keygen(out: Out = Path("device.pem")) -> None:
    """Make the Ed25519 key that signs attestations and checkpoints. Existing files are not overwritten."""
    public = write_key_pair(out)
    typer.echo(f"keep {out} on this device and give {public} to every verifier. Key id: {Verifier(public).key_id}")


def verify(
    token: Token,
    public_key: PublicKey,
    nonce: Nonce = None,
    device: Device = None,
    any_decision: AnyDecision = False,
) -> None:
    """Verify an attestation and print its claims. The exit code is 0 only if it is valid and its decision is live."""
    given = sys.stdin.read() if token == "-" else token
    claims = verify_attestation(given, Verifier(public_key), int(time.time()), nonce=nonce, device=device)
    typer.echo(json.dumps(claims.model_dump(), indent=1))
    if nonce is None:
        typer.echo("without --nonce, this may be the attestation of an earlier request.", err=True)
    if not claims.live and not any_decision:
        typer.echo(f"the attestation is valid; its decision is {claims.decision}.", err=True)
        raise typer.Exit(FAILURE)


@audit.command("verify")
def audit_verify(path: Log, public_key: MaybeKey = None, expect_seq: Seq = None, expect_digest: Digest = None) -> None:
    """Verify an audit log, or each log in a folder, and report the first invalid line."""
    verifier = Verifier(public_key) if public_key is not None else None
    if path.is_dir():
        if expect_seq is not None or expect_digest is not None:
            raise ConfigError(
                f"--expect-seq and --expect-digest apply to one log, but {path} is a folder. Pass the log."
            )
        _verify_folder(path, verifier)
        return
    report = check_audit(path, verifier, watch_seq=expect_seq)
    if expect_seq is not None and report.last.seq < expect_seq:
        raise AuditBroken(
            f"{path}: ends with line number {report.last.seq}, but {expect_seq} was expected: later lines are missing."
        )
    if expect_seq is not None and expect_digest is not None and report.watched != expect_digest:
        raise AuditBroken(f"{path}: line number {expect_seq} does not have the expected digest; the log was rewritten.")
    typer.echo(json.dumps(_shown(report), indent=1))
    if public_key is None and report.checkpoints:
        typer.echo("checkpoints were not verified; pass --public-key to verify them.", err=True)


def _verify_folder(folder: Path, verifier: Verifier | None) -> None:
    found = check_folder(folder, verifier)
    chains = {name: _shown(report) for name, report in found.chains.items()}
    decisions = sum(report.decisions for report in found.chains.values())
    typer.echo(json.dumps({"chains": chains, "decisions": decisions}, indent=1))
    for replica in found.named_twice:
        typer.echo(
            f"several logs name the replica {replica}; give each replica its own name (audit.replica).", err=True
        )
    if verifier is None and any(report.checkpoints for report in found.chains.values()):
        typer.echo("checkpoints were not verified; pass --public-key to verify them.", err=True)
    if found.broken:
        raise AuditBroken("\n".join(found.broken))


def _shown(report: AuditReport) -> dict[str, Any]:
    """Return the part of a report that is printed."""
    shown = asdict(report)
    del shown["watched"], shown["begin"]
    return shown


def add_to(app: typer.Typer) -> None:
    """Add these commands to ``adsn-serve``."""
    app.add_typer(keys, name="key")
    app.add_typer(audit, name="audit")
    app.command("keygen")(keygen)
    app.command("verify")(verify)
