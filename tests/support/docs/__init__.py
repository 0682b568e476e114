"""Read and run the pages of the documentation."""
