"""The log: lines for people, or JSON objects for machines. Neither has ever a picture or a key in it."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone

from service.config.settings import LogSettings

EXTRA = ("request_id", "decision", "reasons", "status", "code", "ms", "source", "caller")
"""Attributes of a record that become members of its object."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: getattr(record, name) for name in EXTRA if hasattr(record, name)}
        if record.exc_info and record.exc_info[0] is not None:
            # Its kind and place, not its text: that may quote what was uploaded.
            trace = record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            entry["error"] = record.exc_info[0].__name__
            entry["at"] = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
        return json.dumps(entry, ensure_ascii=False, default=str)


def set_up_logging(settings: LogSettings) -> None:
    """Send the log to standard error as ``settings`` say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter()
        if settings.format == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    # Its lines on starting and stopping repeat ours, and would come after the error that ended the service.
    logging.getLogger("uvicorn.error").setLevel(max(logging.getLogger().level, logging.WARNING))
    # It warns of each damaged form, by which a sender of many could fill a disk; the request's own line says enough.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
