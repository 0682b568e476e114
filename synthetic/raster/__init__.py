"""The NumPy renderer."""
