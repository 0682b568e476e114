"""Measures the project's running costs. ``python -m benchmarks`` runs everything and writes RESULTS.md."""
