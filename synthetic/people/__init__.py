"""People: identity, head, shape."""
