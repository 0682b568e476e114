"""Pages for a browser: console, reference, login."""
