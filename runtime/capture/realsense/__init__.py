"""Intel RealSense cameras."""
