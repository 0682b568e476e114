"""API keys, sessions and roles."""

from service.auth.guard import Guard
from service.auth.keys import ROLES, Caller, Role, new_key
from service.auth.middleware import GateMiddleware

__all__ = ["ROLES", "Caller", "GateMiddleware", "Guard", "Role", "new_key"]
