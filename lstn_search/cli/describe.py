"""Commands that describe without training: `cost` and `space list|show|check`."""

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the `cost` command and the `space` group to `app`."""

    @app.command()
    def cost() -> None:
        """Print the layers of an architecture with their cost."""
        raise NotImplementedError
