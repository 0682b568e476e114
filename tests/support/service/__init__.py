"""A running service and kiosk, and what is sent to them."""
