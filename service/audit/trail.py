"""The trail of a decision: an attestation for the receiver and a line in the audit log, as configured."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from service.audit.attestation import Attester
from service.audit.log import AuditLog


class DecisionTrail:
    """Trail that signs decisions with ``attester`` and writes them to ``log``, if they are given.

    ``device``: name of this machine in the log.
    """

    def __init__(self, attester: Attester | None = None, log: AuditLog | None = None, device: str = "") -> None:
        self.attester, self.log, self._device = attester, log, device

    def record(self, answer: Mapping[str, Any], caller: str) -> None:
        """Write a response to the log, if there is one.

        This waits for the disk, so call it in a thread.

        Raises:
            AuditUnavailable: the line cannot be written. Do not return the response.
        """
        if self.log is not None:
            self.log.decision(answer, caller=caller, device=self._device)

    def sign(self, answer: Mapping[str, Any], nonce: str | None) -> str | None:
        """Return the attestation of a response as a compact JWS, or None if there is no key."""
        return self.attester.attest(answer, nonce, int(time.time())) if self.attester is not None else None

    def close(self) -> None:
        """Close the log."""
        if self.log is not None:
            self.log.close()
