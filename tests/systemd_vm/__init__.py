"""The units under a systemd that runs: Debian, installed and booted in an emulated machine."""
