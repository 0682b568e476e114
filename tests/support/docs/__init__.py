"""Pages of the documentation, read and run."""
