"""Outputs of a kiosk's decisions: log, page, MQTT, webhook, relay, command. No output can delay a decision."""

# Import only the base here: --lock-door must start fast, so each output is a separate module.
from service.outputs.base import Channel, Event, OutputError, Outputs, OutputWorker

__all__ = ["Channel", "Event", "OutputError", "OutputWorker", "Outputs"]
