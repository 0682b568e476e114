"""Sources of frames. One module here, `synthetic`, is the only place where runtime meets the simulated world."""
