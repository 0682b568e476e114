"""A running service and kiosk, and inputs for them."""
