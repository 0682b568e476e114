"""Logging: lines for people, or JSON objects for programs. Neither ever contains images or keys."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone

from service.config.settings import LogSettings

EXTRA = ("request_id", "decision", "reasons", "status", "code", "ms", "source", "caller")
"""Attributes of a log record that become members of its JSON object."""


class JsonFormatter(logging.Formatter):
    """Formatter that writes each record as one line with a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: getattr(record, name) for name in EXTRA if hasattr(record, name)}
        if record.exc_info and record.exc_info[0] is not None:
            # Log the type and location of the error, but not its text, which may quote the upload.
            trace = record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            entry["error"] = record.exc_info[0].__name__
            entry["at"] = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
        return json.dumps(entry, ensure_ascii=False, default=str)


def set_up_logging(settings: LogSettings) -> None:
    """Send the log to standard error, in the format and at the level given in ``settings``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter()
        if settings.format == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    # The start and stop messages of uvicorn repeat ours, and would come after the error that ended the service.
    logging.getLogger("uvicorn.error").setLevel(max(logging.getLogger().level, logging.WARNING))
    # python_multipart warns about every malformed form, so a single client could fill a disk. The log line of the
    # request is enough.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
