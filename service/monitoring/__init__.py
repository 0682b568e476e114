"""Health, metrics, events and status."""

# Import nothing else here, because --lock-door must start fast, and the other modules import the HTTP framework.
from service.monitoring.health import Condition, ConditionGroup, Health, Severity

__all__ = ["Condition", "ConditionGroup", "Health", "Severity"]
