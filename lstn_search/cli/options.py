"""Options that are the fields of settings, and the few others that several commands share."""

import dataclasses
import functools
import inspect
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lstn_search.errors import SettingError, did_you_mean, why
from lstn_search.spec.fields import OUTPUT, PANELS, WHERE, described, expanded, option_name, plain_type

__all__ = [
    *("Force", "Given", "Json", "Quiet", "Retries", "RunFolderArgument", "RunStorage", "SeedPointSpace"),
    *("check_writable", "options", "with_settings"),
]

CONFIG = "lstn-search.config"
"""Where a command's context keeps the settings of a file that are no options."""

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
Json = Annotated[
    bool,
    typer.Option("--json", help="Print JSON, and all else on standard error.", rich_help_panel=OUTPUT),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result alone.", rich_help_panel=OUTPUT)]
Force = Annotated[
    bool,
    typer.Option("--force", help="Also replace files that no export wrote; others stay.", rich_help_panel=OUTPUT),
]
SeedPointSpace = Annotated[str, typer.Option(help="Whose seed points --arch may name.")]


def options(
    settings: type, *names: str, place: str = "", of_run: bool = False, words: Mapping[str, str] | None = None
) -> "_Options":
    """The options that set these fields of a dataclass (by default all that are options), for `with_settings`.

    `place` names defaults that are others `elsewhere`; there nothing is required. `of_run`: the default is the run's
    setting. `words` are other words of help.
    """
    parameters = _Options()
    for field, known in described(settings):
        if names and field.name not in names:
            continue
        if not known.is_option:
            parameters.hidden[field.name] = field
            continue
        default, shown = known.elsewhere.get(place, field.default), known.unset or True
        if of_run:
            default, shown = None, "the run's"
        elif default is dataclasses.MISSING:
            default, shown = (None, known.unset or True) if place else (inspect.Parameter.empty, True)
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


class _Options(list[inspect.Parameter]):
    """Options, and the settings beside them that only Python and a file of settings set."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: dict[str, dataclasses.Field[Any]] = {}


def with_settings(**groups: "_Options") -> Callable[[Command], Command]:
    """Give a command `options`: those of each group that were given come in one argument, a `Given`, of its name."""

    def decorate(command: Command) -> Command:
        own = (one for name, one in inspect.signature(command).parameters.items() if name not in groups)
        of_groups = (one for group in groups.values() for one in group)
        parameters = [_keyword(one.name, one.annotation, one.default) for one in (*own, *of_groups)]
        parameters.sort(key=_place)
        names = {one.name for one in parameters}
        hidden = {name: (group, field) for group, of_group in groups.items() for name, field in of_group.hidden.items()
                  if name not in names}  # fmt: skip

        def read(ctx: typer.Context, file: Path | None) -> None:
            if file is not None and not ctx.resilient_parsing:
                ctx.default_map, ctx.meta[CONFIG] = _settings_of(file, ctx, hidden)

        parameters.insert(0, _keyword("config", Annotated[Path | None, _config(read)], None))
        parameters.insert(0, _keyword("ctx", typer.Context))

        @functools.wraps(command)
        def run(ctx: typer.Context, config: Path | None = None, **values: Any) -> None:
            for group, of_group in groups.items():
                pairs = [(one.name, values.pop(one.name)) for one in of_group]
                values[group] = {name: value for name, value in pairs if _is_given(ctx, name)}
            for name, value in ctx.meta.get(CONFIG, {}).items():
                values[hidden[name][0]][name] = value
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
    return source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP")


def _config(read: Callable[[typer.Context, Path | None], None]) -> Any:
    return typer.Option(
        help="A TOML file of settings, such as a run's settings.toml; what is given here comes before it.",
        is_eager=True,
        callback=read,
    )


def _settings_of(file: Path, ctx: typer.Context, hidden: Mapping[str, tuple[str, Any]]) -> tuple[Given, Given]:
    """The settings of a file that are options, and those that are not. Raises SettingError on an unknown one."""
    from lstn_search.runs.settings_file import read_settings

    several = {str(one.name): getattr(one, "multiple", False) for one in ctx.command.params if one.name != "config"}
    of_options: Given = {}
    others: Given = {}
    for name, value in read_settings(file).items():
        if name in hidden:
            kind = plain_type(hidden[name][1])
            try:
                others[name] = kind(value)
            except (TypeError, ValueError):
                raise SettingError(f"{file}: {name} must be a {kind.__name__}, got {value!r}") from None
        elif name in several:
            is_list = isinstance(value, list)
            of_options[name] = ([value], value)[is_list] if several[name] else ",".join(value) if is_list else value
        else:
            raise SettingError(f"{file}: unknown setting {name!r}; {did_you_mean(name, [*several, *hidden])}")
    return of_options, others


def _place(parameter: inspect.Parameter) -> tuple[int, bool]:
    """Of an option in the help: by its panel, what has none first; and what is required first."""
    panel = parameter.annotation.__metadata__[0].rich_help_panel
    return -1 if panel is None else PANELS.index(panel), parameter.default is not inspect.Parameter.empty


def check_writable(folder: Path) -> None:
    """Create `folder` if need be. Raises SettingError when nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingError(f"{folder} cannot be written {why(error, 'choose another --out')}") from None
