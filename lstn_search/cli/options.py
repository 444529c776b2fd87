"""Options that are the fields of settings, and the few others that several commands share."""

import dataclasses
import functools
import inspect
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lstn_search.errors import SettingError, why
from lstn_search.runs.manifest import MANIFEST
from lstn_search.spec.fields import OUTPUT, PANELS, WHERE, described, expanded, option_name, plain_type

__all__ = [
    *("Force", "Given", "Retries", "RunFolderArgument", "RunStorage", "SeedPointSpace"),
    *("check_writable", "options", "split_run", "with_settings"),
]

Given = dict[str, Any]
"""The settings that the command line gave; what it left open is not in it."""

Command = Callable[..., None]

Retries = Annotated[int, typer.Option(help="How often a job is run again when its worker dies.", rich_help_panel=WHERE)]
RunFolderArgument = Annotated[Path, typer.Argument(help="The run folder of a search.", show_default=False)]
RunStorage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help="The database of the run's study, where that is not in the run folder.",
        show_default=False,
        rich_help_panel=WHERE,
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Also replace files that no export wrote; others stay.", rich_help_panel=OUTPUT),
]
SeedPointSpace = Annotated[str, typer.Option(help="Whose seed points --arch may name.")]


def options(
    settings: type, *names: str, place: str = "", of_run: bool = False, words: Mapping[str, str] | None = None
) -> list[inspect.Parameter]:
    """The options that set these fields of a dataclass (by default all that are options), for `with_settings`.

    `place` names defaults that are others `elsewhere`; there nothing is required. `of_run`: the default is the run's
    setting. `words` are other words of help.
    """
    parameters = []
    for field, known in described(settings):
        if not known.is_option or (names and field.name not in names):
            continue
        default, shown = known.elsewhere.get(place, field.default), known.unset or True
        if of_run:
            default, shown = None, "the run's"
        elif default is dataclasses.MISSING:
            default = None if place else inspect.Parameter.empty
        elif "paper" in known.elsewhere:
            shown = f"{default}; paper: {known.elsewhere['paper']}"
        if isinstance(default, tuple):
            default = ",".join(default)
        option = typer.Option(
            option_name(field.name),
            help=(words or {}).get(field.name, known.help),
            show_default=shown,
            rich_help_panel=known.panel,
            parser=_expanded if known.is_path else None,
            metavar="<path>" if known.is_path else None,
        )
        kind = str if isinstance(default, str) else plain_type(field)
        kind = kind | None if default is None else kind
        parameters.append(_keyword(field.name, Annotated[kind, option], default))
    return parameters


def with_settings(**groups: list[inspect.Parameter]) -> Callable[[Command], Command]:
    """Give a command `options`: those of each group that were given come in one argument, a `Given`, of its name."""

    def decorate(command: Command) -> Command:
        own = (one for name, one in inspect.signature(command).parameters.items() if name not in groups)
        of_groups = (one for group in groups.values() for one in group)
        parameters = [_keyword(one.name, one.annotation, one.default) for one in (*own, *of_groups)]
        parameters.sort(key=_place)
        parameters.insert(0, _keyword("ctx", typer.Context))

        @functools.wraps(command)
        def run(ctx: typer.Context, **values: Any) -> None:
            for group, of_group in groups.items():
                pairs = [(one.name, values.pop(one.name)) for one in of_group]
                values[group] = {name: value for name, value in pairs if _is_given(ctx, name)}
            command(**values)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def _keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _expanded(text: str) -> str:
    return str(expanded(text))


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _place(parameter: inspect.Parameter) -> tuple[int, bool]:
    """Of an option in the help: by its panel, what has none first; and what is required first."""
    panel = parameter.annotation.__metadata__[0].rich_help_panel
    return -1 if panel is None else PANELS.index(panel), parameter.default is not inspect.Parameter.empty


def split_run(text: str) -> tuple[Path, str] | None:
    """The run and what of it (else `best`) in RUN[:WHICH], where RUN may hold colons; None when there is no run."""
    for folder, which in ((text, ""), text.rpartition(":")[::2]):
        if (Path(folder) / MANIFEST).is_file():
            return Path(folder), which or "best"
    return None


def check_writable(folder: Path) -> None:
    """Create `folder` if need be. Raises SettingError when nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingError(f"{folder} cannot be written {why(error, 'choose another --out')}") from None
