"""Reading and running the documentation's pages."""
