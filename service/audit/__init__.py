"""Attestations (signed decisions) and the audit log."""

from service.audit.attestation import Attester, Claims, verify_attestation
from service.audit.jws import Signer, Verifier
from service.audit.log import AuditLog, AuditLogOptions
from service.audit.trail import DecisionTrail
from service.audit.verify import check_audit

__all__ = [
    "Attester",
    "AuditLog",
    "AuditLogOptions",
    "Claims",
    "DecisionTrail",
    "Signer",
    "Verifier",
    "check_audit",
    "verify_attestation",
]
