"""Outputs for the decisions of a kiosk: event log, page, MQTT, webhook, relay, command. No output can delay a
decision."""

# Import only the base here, because --lock-door must start fast. Each output is a separate module.
from service.outputs.base import Channel, Event, OutputError, Outputs, OutputWorker

__all__ = ["Channel", "Event", "OutputError", "OutputWorker", "Outputs"]
