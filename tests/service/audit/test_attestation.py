"""Attestations: which tokens a relying party may trust, and every kind of forged or expired token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from runtime.bundle.signature import write_key_pair
from runtime.core.errors import ConfigError, TokenInvalid
from service.audit.attestation import CLOCK_SKEW_S, TYPE, Attester, verify_attestation
from service.audit.jws import Signer, Verifier, canonical, decode_part, encode_part, key_id
from tests.support.service.answers import answer

NOW = 1_800_000_000
DOCS = Path(__file__).parents[3] / "docs" / "security.md"


@dataclass(slots=True)
class Keys:
    private: Path
    public: Path
    attester: Attester
    verifier: Verifier


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    private = tmp_path_factory.mktemp("keys") / "device.pem"
    public = write_key_pair(private)
    return Keys(private, public, Attester(Signer(private), "gate-3"), Verifier(public))


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    head, claims, signature = token.split(".")
    return json.loads(decode_part(head)), json.loads(decode_part(claims)), decode_part(signature)


def join(head: Any, claims: Any, signature: bytes) -> str:
    return f"{encode_part(canonical(head))}.{encode_part(canonical(claims))}.{encode_part(signature)}"


def resign(keys: Keys, head: Any, claims: bytes) -> str:
    """Sign any header and claims with the key of the device."""
    key = serialization.load_pem_private_key(keys.private.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    signed = f"{encode_part(canonical(head))}.{encode_part(claims)}"
    return f"{signed}.{encode_part(key.sign(signed.encode()))}"


def test_an_attestation_says_what_the_answer_said(keys: Keys) -> None:
    token = keys.attester.attest(answer(), "n-1", NOW)
    claims = verify_attestation(token, keys.verifier, NOW + 10, nonce="n-1", device="gate-3")
    assert claims.live
    assert claims.model_dump() == {
        "iss": "gate-3",
        "jti": "r-1",
        "iat": NOW,
        "exp": NOW + 60,
        "contract_version": "1.0",
        "decision": "live",
        "reasons": [],
        "source": "camera",
        "model_sha256": "ab" * 32,
        "nonce": "n-1",
        "session_id": "s-1",
        "score": 0.97,
    }


@pytest.mark.parametrize("decision", ["spoof", "uncertain"])
def test_other_decisions_are_signed_too_and_are_not_live(keys: Keys, decision: str) -> None:
    claims = verify_attestation(keys.attester.attest(answer(decision), "n", NOW), keys.verifier, NOW, nonce="n")
    assert claims.decision == decision
    assert not claims.live


def test_a_hidden_score_stays_hidden(keys: Keys) -> None:
    token = keys.attester.attest(answer(score=None), None, NOW)
    assert verify_attestation(token, keys.verifier, NOW).score is None
    assert "0.97" not in str(parts(token))


@pytest.mark.parametrize("changes", [{"decision": "Live"}, {"score": float("nan")}, {"score": 1.5}, {"reasons": [1]}])
def test_what_is_no_answer_is_not_signed(keys: Keys, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        keys.attester.attest(answer(**changes), None, NOW)


def test_every_changed_claim_is_noticed(keys: Keys) -> None:
    head, claims, signature = parts(keys.attester.attest(answer("spoof"), "n", NOW))
    for name, value in {
        "decision": "live",
        "exp": NOW + 10**6,
        "nonce": "m",
        "iss": "gate-4",
        "source": "upload",
    }.items():
        with pytest.raises(TokenInvalid, match="signature is wrong"):
            verify_attestation(join(head, claims | {name: value}, signature), keys.verifier, NOW)


def test_no_changed_character_goes_unnoticed(keys: Keys) -> None:
    token = keys.attester.attest(answer(), "n", NOW)
    for place in range(len(token)):
        other = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(TokenInvalid):
            verify_attestation(other, keys.verifier, NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "eddsa"},
        {"typ": "JWT"},
        {"crit": ["exp"]},
        {"jwk": {"kty": "OKP"}},
        {"kid": "someone-else"},
        {"kid": None},
    ],
)
def test_headers_choose_nothing_even_signed_by_the_right_key(keys: Keys, change: dict[str, Any]) -> None:
    head, claims, _ = parts(keys.attester.attest(answer(), "n", NOW))
    with pytest.raises(TokenInvalid, match=r"header|another key"):
        verify_attestation(resign(keys, head | change, canonical(claims)), keys.verifier, NOW)


def test_alg_none_without_a_signature(keys: Keys) -> None:
    _, claims, _ = parts(keys.attester.attest(answer(), "n", NOW))
    with pytest.raises(TokenInvalid, match="header"):
        verify_attestation(
            join({"alg": "none", "typ": TYPE, "kid": keys.verifier.key_id}, claims, b""), keys.verifier, NOW
        )


def test_a_swapped_header_of_another_token(keys: Keys, tmp_path: Path) -> None:
    write_key_pair(tmp_path / "other.pem")
    other = Attester(Signer(tmp_path / "other.pem"), "gate-3").attest(answer(), "n", NOW)
    mine = keys.attester.attest(answer(), "n", NOW)
    swapped = f"{other.split('.')[0]}.{mine.split('.', 1)[1]}"
    with pytest.raises(TokenInvalid, match="another key"):
        verify_attestation(swapped, keys.verifier, NOW)
    with pytest.raises(TokenInvalid, match="signature is wrong"):
        verify_attestation(f"{mine.split('.')[0]}.{other.split('.', 1)[1]}", keys.verifier, NOW)
    with pytest.raises(TokenInvalid, match="another key"):
        verify_attestation(other, keys.verifier, NOW)


def test_a_signature_made_for_something_else_is_no_attestation(keys: Keys) -> None:
    token = keys.attester.signer.sign("adsn-audit+jws", {"decision": "live"})
    with pytest.raises(TokenInvalid, match="header"):
        verify_attestation(token, keys.verifier, NOW)


def test_expired_and_from_the_future(keys: Keys) -> None:
    token = keys.attester.attest(answer(), "n", NOW)
    verify_attestation(token, keys.verifier, NOW + 59)
    with pytest.raises(TokenInvalid, match="expired"):
        verify_attestation(token, keys.verifier, NOW + 60)
    verify_attestation(token, keys.verifier, NOW - CLOCK_SKEW_S)
    with pytest.raises(TokenInvalid, match="future"):
        verify_attestation(token, keys.verifier, NOW - CLOCK_SKEW_S - 1)


def test_a_token_may_end_before_its_lifetime_does_and_never_after(keys: Keys) -> None:
    short = keys.attester.attest(answer(), None, NOW, NOW + 2)
    verify_attestation(short, keys.verifier, NOW + 1)
    with pytest.raises(TokenInvalid, match="expired"):
        verify_attestation(short, keys.verifier, NOW + 2)
    long = keys.attester.attest(answer(), None, NOW, NOW + 10_000)
    with pytest.raises(TokenInvalid, match="expired"):
        verify_attestation(long, keys.verifier, NOW + 60)


def test_replayed_for_another_question_or_from_another_device(keys: Keys) -> None:
    token = keys.attester.attest(answer(), "question-1", NOW)
    verify_attestation(token, keys.verifier, NOW, nonce="question-1")
    with pytest.raises(TokenInvalid, match="another nonce"):
        verify_attestation(token, keys.verifier, NOW, nonce="question-2")
    with pytest.raises(TokenInvalid, match="another nonce"):
        verify_attestation(keys.attester.attest(answer(), None, NOW), keys.verifier, NOW, nonce="question-2")
    with pytest.raises(TokenInvalid, match="device"):
        verify_attestation(token, keys.verifier, NOW, device="gate-4")


def test_signed_claims_that_are_none_are_refused(keys: Keys) -> None:
    head, claims, _ = parts(keys.attester.attest(answer(), "n", NOW))
    for wrong in (
        canonical({k: v for k, v in claims.items() if k != "decision"}),
        canonical(claims | {"decision": "alive"}),
        canonical(claims | {"iat": str(NOW)}),
        canonical(claims | {"extra": 1}),
        canonical(claims).replace(b'"decision":"live"', b'"decision":"spoof","decision":"live"'),
        b"[]",
        b"\xff",
        b"[" * 9_000,
    ):
        with pytest.raises(TokenInvalid):
            verify_attestation(resign(keys, head, wrong), keys.verifier, NOW)


@pytest.mark.parametrize(
    "token", ["", "a", "a.b", "a.b.c.d", "..", "é.é.é", "A" * 20_000, "====.e30.e30", "e30.e30.e31"]
)
def test_rubbish_is_refused(keys: Keys, token: str) -> None:
    with pytest.raises(TokenInvalid):
        verify_attestation(token, keys.verifier, NOW)


@pytest.mark.parametrize("device", ["", "two words", "a\nb", "-x", "x" * 65])
def test_a_device_has_a_plain_name(keys: Keys, device: str) -> None:
    with pytest.raises(ConfigError, match="ADSN_DEVICE_ID"):
        Attester(keys.attester.signer, device)


def test_the_published_vector(tmp_path: Path) -> None:
    """RFC 8037, appendices A.1 to A.4."""
    secret = decode_part("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
    key = Ed25519PrivateKey.from_private_bytes(secret)
    signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    assert encode_part(b'{"alg":"EdDSA"}') + "." + encode_part(b"Example of Ed25519 signing") == signed
    assert encode_part(key.sign(signed.encode())) == (
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )
    assert key_id(key.public_key().public_bytes_raw()) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_keys_are_never_written_over_and_private(tmp_path: Path) -> None:
    private = tmp_path / "device.pem"
    public = write_key_pair(private)
    assert (public.name, private.stat().st_mode & 0o777) == ("device.pub.pem", 0o600)
    before = private.read_bytes()
    with pytest.raises(ConfigError, match="already"):
        write_key_pair(private)
    public.unlink()
    with pytest.raises(ConfigError, match="already"):
        write_key_pair(private)
    assert private.read_bytes() == before
