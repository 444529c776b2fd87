"""What this program is called by whoever started it, and its version."""

import sys

__all__ = ["SCRIPT", "VERSION", "program"]

VERSION = "0.1.0"
SCRIPT = "lstn-search"
"""As it is installed."""


def program() -> str:
    """What begins a command that the user can type: `lstn-search`, `python cli.py`, or else `python -m lstn_search`."""
    import shlex
    import shutil
    from pathlib import Path

    called = sys.argv[0] if sys.argv else ""
    if Path(called).name == "cli.py":
        return f"python {shlex.quote(called)}"
    if Path(called).stem == SCRIPT:
        return SCRIPT if called == shutil.which(SCRIPT) else shlex.quote(called)
    return "python -m lstn_search"
