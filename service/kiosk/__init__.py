"""The kiosk daemon: one process that owns a rig, decides on who stands before it, and tells the door."""

__all__ = ["main"]


def main() -> None:
    """Console script."""
    from service.kiosk import cli

    cli.main()
