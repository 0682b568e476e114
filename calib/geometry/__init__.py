"""Two cameras' lenses and their pose, from views of the calibration board."""
