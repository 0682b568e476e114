"""Programs that generate pages and drawings from code. `make docs-made` writes them; tests compare them."""
