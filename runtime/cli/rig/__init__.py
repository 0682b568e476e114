"""``adsn-rig``, a module for each command."""
