"""The kiosk daemon: one process that runs a rig, decides on the person in front of it, and controls the door."""

__all__ = ["main"]


def main() -> None:
    """Run the console script."""
    from service.kiosk import cli

    cli.main()
