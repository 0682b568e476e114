"""Values, errors, reason codes and small helpers. Imports nothing else of this project."""
