"""Camera sensors."""
