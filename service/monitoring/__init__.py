"""Health, metrics, events and status."""

# Light, because a door waits for it: the other modules bring the HTTP framework.
from service.monitoring.health import Condition, ConditionGroup, Health, Severity

__all__ = ["Condition", "ConditionGroup", "Health", "Severity"]
