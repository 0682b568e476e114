"""Health, metrics, events and status."""

# Keep this import light, because --lock-door must start fast: the other modules import the HTTP framework.
from service.monitoring.health import Condition, ConditionGroup, Health, Severity

__all__ = ["Condition", "ConditionGroup", "Health", "Severity"]
