"""Programs that generate pages and drawings from code. ``make docs-made`` runs them, and tests compare the results."""
