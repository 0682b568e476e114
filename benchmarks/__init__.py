"""Benchmarks: measure latency, throughput and memory. ``python -m benchmarks`` runs all of them and writes
RESULTS.md."""
