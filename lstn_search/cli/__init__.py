"""The command line: one module a group of commands; nothing here imports torch before a command needs it."""

import errno
import itertools
import signal
import sys
import threading
from typing import NoReturn

import typer

from lstn_search.cli import describe, download, evaluate, export, fidelity, paper, report, search, show, verify
from lstn_search.cli.streams import output_lost, settle_streams
from lstn_search.errors import LstnError, SettingError, printable, why

__all__ = ["app", "main"]

DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)

app = typer.Typer(
    name="lstn-search",
    help="Find the best localization net for a Spatial Transformer Network under a FLOP budget.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for module in (search, verify, fidelity, report, show, evaluate, export, describe, paper, download):
    module.register(app)


def main() -> NoReturn:
    """Run the command line; bad input is one line on standard error and exit code 2."""
    sys.unraisablehook = _interrupt_again
    settle_streams()
    try:
        _refuse_empty(sys.argv[1:])
        code = app(standalone_mode=False)
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
            code = _fail(f"{error.format_message()} (see --help)")
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
