"""``adsn-calib``, a module for each group of commands."""
