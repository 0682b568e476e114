"""Makes the pages and drawings that are made from code. `make docs-made` writes them, tests compare them."""
