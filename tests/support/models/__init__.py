"""Networks, bundles and engines for tests."""
