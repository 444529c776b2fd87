"""The command line: one module a group of commands, loaded when it is asked for; `--help` needs none of them."""

import errno
import itertools
import os
import signal
import sys
import threading
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from lstn_search.cli.streams import output_lost, settle_streams
from lstn_search.errors import LstnError, SettingError, printable, why
from lstn_search.program import SCRIPT, VERSION, program

__all__ = ["COMMANDS", "app", "main"]

DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)

TRAIN, LOOK, DESCRIBE = "Search and train", "See and use what was found", "Describe, without training"
COMMANDS = {
    "search": ("search", TRAIN, "Search for the best localization nets under a FLOP budget."),
    "eval": ("evaluate", TRAIN, "Train one architecture longer, and test it beside control and oracle."),
    "verify": ("verify", TRAIN, "Retrain a run's best with fresh seeds, and say which differ."),
    "fidelity": ("fidelity", TRAIN, "Do the cheap rungs of a run rank like its long trainings?"),
    "report": ("report", LOOK, "Write a run as one HTML page."),
    "show": ("show", LOOK, "Draw images before and after the warp, or a film of the training."),
    "export": ("export", LOOK, "Write a trained net as one Python file that needs only torch."),
    "cost": ("describe", DESCRIBE, "Print the layers of an architecture, with parameters and FLOPs."),
    "space": ("describe", DESCRIBE, "List, show and check search spaces."),
    "paper": ("paper", DESCRIBE, "The paper's numbers, printed and computed."),
    "download": ("download", DESCRIBE, "Fetch a dataset; no other command ever downloads anything."),
}
"""The commands: the module of each here, its panel, and its line in the list."""


class _Commands(TyperGroup):
    """Loads a command when it is run or completed; the list of them is made of COMMANDS alone."""

    def __init__(self, **options: Any) -> None:
        listed = (TyperCommand(name, help=line, rich_help_panel=panel) for name, (_, panel, line) in COMMANDS.items())
        super().__init__(**{**options, "commands": {str(command.name): command for command in listed}})
        self._is_listing = False

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself; while they are listed what stands for it."""
        if self._is_listing or cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        group = typer.Typer()
        import_module(f"lstn_search.cli.{COMMANDS[cmd_name][0]}").register(group)
        return typer.main.get_group(group).get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """List the commands."""
        self._is_listing = True
        super().format_help(ctx, formatter)
        self._is_listing = False

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Their names."""
        self._is_listing = True
        return super().shell_complete(ctx, incomplete)


app = typer.Typer(
    name=SCRIPT,
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"{SCRIPT} {VERSION}")
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Find the best localization net for a Spatial Transformer Network under a FLOP budget."""


def main() -> NoReturn:
    """Run the command line; bad input is one line on standard error and exit code 2."""
    sys.unraisablehook = _interrupt_again
    settle_streams()
    try:
        _refuse_empty(sys.argv[1:])
        is_completion = any(word.endswith("-completion") for word in sys.argv) or any(
            name.endswith("LSTN_SEARCH_COMPLETE") for name in os.environ
        )
        code = app(standalone_mode=False, prog_name=SCRIPT if is_completion else program())
    except LstnError as error:
        code = _fail(str(error))
    except typer.Exit as error:
        code = error.exit_code
    except typer.Abort:
        code = 130
    except OSError as error:
        trouble = "written" if error.errno in DISK_TROUBLE else "used"
        code = _fail(f"{error.filename or 'a file'} cannot be {trouble} {why(error, 'make room or access')}")
    except Exception as error:  # click's own usage errors: an unknown option, a value of the wrong type
        if hasattr(error, "format_message"):
            words = error.format_message()
            code = _fail(f"{words} (see --help)") if words else 0  # nothing was asked for, and help was shown
        elif isinstance(error, MemoryError) or "memory" in str(error).partition("\n")[0]:  # torch's is a RuntimeError
            reason = str(error).partition("\n")[0] or "out of memory"
            code = _fail(f"not enough memory ({reason}); use a smaller network, image or batch size")
        else:
            raise
    if (lost := output_lost()) is not None and not code:
        code = _fail(f"standard output cannot be written {why(lost, 'make room or access')}")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # leaving: one more Ctrl-C does not change the exit code
    sys.exit(code or 0)


def _interrupt_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """A Ctrl-C that fell into a destructor is swallowed and printed by Python: it comes again, a moment later."""
    if unraisable.exc_type is KeyboardInterrupt:
        main_thread = threading.main_thread().ident
        assert main_thread is not None
        send = getattr(signal, "pthread_kill", lambda thread, number: signal.raise_signal(number))  # Windows
        threading.Timer(0.05, send, (main_thread, signal.SIGINT)).start()  # ends what it waits for, too
    else:
        sys.__unraisablehook__(unraisable)


def _refuse_empty(words: list[str]) -> None:
    """An empty word names no folder, file or database; Path("") would be this very folder."""
    for before, word in itertools.pairwise(["the command line", *words]):
        option, equals, value = word.partition("=")
        if not word or (equals and not value and option.startswith("--")):
            raise SettingError(f"{option or before} holds an empty value; leave it out or name something")


def _fail(message: str) -> int:
    print("error: " + printable(" ".join(message.split())), file=sys.stderr)
    return 2
