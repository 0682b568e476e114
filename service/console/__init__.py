"""Web pages: console, API reference, and login."""

from service.console.login import add_login_routes
from service.console.page import add_console_routes
from service.console.reference import add_reference_routes

__all__ = ["add_console_routes", "add_login_routes", "add_reference_routes"]
