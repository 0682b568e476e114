"""Process infrastructure: logging, memory, and notifications to systemd."""

from service.process.logs import set_up_logging
from service.process.memory import keep_freed_memory
from service.process.systemd import Notifier

__all__ = ["Notifier", "keep_freed_memory", "set_up_logging"]
