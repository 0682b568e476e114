"""Networks, bundles and engines to test with."""
