"""``POST /liveness``: contract, scoring and the worker pool."""
