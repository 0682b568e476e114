"""Emulated machines for tests that need a kernel of their own."""
