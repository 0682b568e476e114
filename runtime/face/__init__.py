"""Ways to find a face besides OpenCV's cascade: a user's detector, a fixed place, none. See `runtime.face.open`."""
