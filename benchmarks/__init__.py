"""What the project costs to run, measured. ``python -m benchmarks`` runs all of it and writes RESULTS.md."""
