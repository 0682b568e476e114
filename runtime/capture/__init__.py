"""Sources of frames. One module here, `simulated.rig`, is the only place where runtime meets the simulated world."""
