"""Where a kiosk's decisions go: log, page, MQTT, webhook, relay, command. None of them can hold a decision up."""

# Light, because a door waits for it: each output is a module of its own.
from service.outputs.base import Channel, Event, OutputError, Outputs, OutputWorker

__all__ = ["Channel", "Event", "OutputError", "OutputWorker", "Outputs"]
