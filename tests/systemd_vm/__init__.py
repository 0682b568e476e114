"""The units under a running systemd: Debian, installed and booted in an emulated machine."""
