"""API keys, browser sessions and roles."""

from service.auth.guard import Guard
from service.auth.keys import CALLER_ROLES, Caller, CallerRole, new_key
from service.auth.middleware import AuthMiddleware

__all__ = ["CALLER_ROLES", "AuthMiddleware", "Caller", "CallerRole", "Guard", "new_key"]
