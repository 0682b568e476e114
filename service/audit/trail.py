"""What a decision leaves behind: a signature for its receiver and a line in the audit log, as the operator wants."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from service.audit.attestation import Attester
from service.audit.log import AuditLog


class DecisionTrail:
    """Sign decisions with ``attester`` and write them to ``log``, where there is one.

    ``device``: the name of this machine in the log.
    """

    def __init__(self, attester: Attester | None = None, log: AuditLog | None = None, device: str = "") -> None:
        self.attester, self.log, self._device = attester, log, device

    def record(self, answer: Mapping[str, Any], caller: str) -> None:
        """Write an answer to the log; without one, do nothing. Blocks on the disk, so call it in a thread.

        Raises:
            AuditUnavailable: the line cannot be written. The answer must not be given then.
        """
        if self.log is not None:
            self.log.decision(answer, caller=caller, device=self._device)

    def sign(self, answer: Mapping[str, Any], nonce: str | None) -> str | None:
        """Return the attestation of an answer as a compact JWS; None without a key."""
        return self.attester.attest(answer, nonce, int(time.time())) if self.attester is not None else None

    def close(self) -> None:
        """Close the log."""
        if self.log is not None:
            self.log.close()
