"""Commands that describe without training: `cost` and `space list|show|check`."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lstn_search.cli.arch_words import ArchWords, name_arch
from lstn_search.cli.options import Json, Quiet, RunStorage
from lstn_search.errors import ArchError, SettingError, printable
from lstn_search.spec import moves
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import Cost, TransformerCost, cost, gflops_as_trained, transformer_cost
from lstn_search.spec.operations import arch_rows, end_words
from lstn_search.spec.space import Space, load_space, space_names
from lstn_search.spec.task import DEFAULT_TRIAL_SIZE

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["register"]

SpaceOption = Annotated[str, typer.Option("--space", help="A named search space, or the path of a space's .toml.")]
ImageSizeOption = Annotated[int, typer.Option("--image-size", help="Side of the square image, in pixels.")]
SpaceArgument = Annotated[str, typer.Argument(metavar="SPACE", help="A named space, or the path of its .toml.")]


def register(app: typer.Typer) -> None:
    """Add the `cost` command and the `space` group to `app`."""
    app.command("cost")(_cost)
    group = typer.Typer(no_args_is_help=True, help="List, show and check search spaces.")
    group.command("list")(_space_list)
    group.command("show")(_space_show)
    group.command("check")(_space_check)
    app.add_typer(group, name="space")


def _cost(
    arch: ArchWords,
    image_size: Annotated[
        int | None, typer.Option(help="Side of the square image, in pixels.", show_default="224, or the run's")
    ] = None,
    space: SpaceOption = "lstn",
    as_json: Json = False,
    quiet: Quiet = False,
    storage: RunStorage = None,
) -> None:
    """Print the layers of an architecture: shapes, parameters, MACs, FLOPs, receptive field."""
    named = name_arch(arch, space, storage)
    net, name = named.arch, named.name
    if net is None:
        raise SettingError("--arch none has no localization net, so there is nothing to count; name a network")
    of_run = 224 if named.task is None else named.task.image_size
    size = of_run if image_size is None else image_size
    total = cost(net, size)
    transformer = transformer_cost(size, channels=net.in_channels)
    if as_json:
        facts = {"arch": name, "digest": net.digest, **total.to_dict(), "transformer": transformer.to_dict()}
        typer.echo(json.dumps(facts, indent=2))
        return
    _print(_cost_table(name, net, total), *([] if quiet else _cost_notes(net, total, transformer)))


def _space_list(as_json: Json = False) -> None:
    """List the named search spaces."""
    if as_json:
        spaces = [load_space(name) for name in space_names()]
        rows = [
            {
                "name": one.name,
                "description": one.description,
                "count": str(one.count()),
                "seed_points": list(one.seeds),
            }
            for one in spaces
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = _table("space", "what it varies", ">sets of choices", "seed points")
    for name in space_names():
        space = load_space(name)
        table.add_row(name, space.description, _about(space.count()), ", ".join(space.seeds))
    _print(table)


def _space_show(space: SpaceArgument, image_size: ImageSizeOption = 224, as_json: Json = False) -> None:
    """Show what a search space varies, its seed points and its cheapest network."""
    found = load_space(space)
    if as_json:
        typer.echo(json.dumps(_space_facts(found, image_size), indent=2))
        return
    choices = _table("choice", "values")
    for name, values in found.values.items():
        choices.add_row(name, ", ".join(str(value).lower() for value in values))
    differs = not all(arch.is_same_at(image_size, DEFAULT_TRIAL_SIZE) for arch in found.seeds.values())
    as_trained = [f">as trained at {DEFAULT_TRIAL_SIZE}"] * differs
    seeds = _table("seed point", ">params", f">GFLOPs at {image_size}", *as_trained, "in the space", "source")
    for name, arch in found.seeds.items():
        inside = "yes" if found.encode(arch) else "no"
        trained = [_trained(arch, image_size)] * differs
        seeds.add_row(name, *_summary(arch, image_size), *trained, inside, found.sources[name])
    gflops, cheapest = moves.cheapest(found, image_size)
    params = cost(found.expand(cheapest), image_size).params
    _print(
        f"{found.name}: {found.description}",
        choices,
        *([seeds] if found.seeds else []),
        f"{found.count():,} sets of choices.",
        f"Cheapest at {image_size}: {gflops:.6f} GFLOPs, {params:,} parameters.",
    )


def _space_check(space: SpaceArgument, image_size: ImageSizeOption = 224) -> None:
    """Check a search space file: one line if it is fine, one line and exit code 2 if it is not."""
    found = load_space(space)
    gflops, _ = moves.cheapest(found, image_size)
    typer.echo(
        f"{printable(space)}: ok ({_about(found.count())} sets of choices, {len(found.seeds)} seed points, "
        f"cheapest {gflops:.6f} GFLOPs at {image_size})"
    )


def _space_facts(space: Space, image_size: int) -> dict[str, Any]:
    """What `space show` prints, as JSON types; what cannot be built at that size costs null."""

    def facts(name: str, arch: Arch) -> dict[str, Any]:
        try:
            total = cost(arch, image_size)
            costs: dict[str, Any] = {"params": total.params, "gflops": total.gflops}
        except ArchError:
            costs = {"params": None, "gflops": None}
        return {"name": name, **costs, "in_space": space.encode(arch) is not None, "source": space.sources[name]}

    gflops, cheapest = moves.cheapest(space, image_size)
    return {
        "name": space.name,
        "description": space.description,
        "count": str(space.count()),
        "image_size": image_size,
        "choices": {name: list(values) for name, values in space.values.items()},
        "seed_points": [facts(name, arch) for name, arch in space.seeds.items()],
        "cheapest": {"gflops": gflops, "params": cost(space.expand(cheapest), image_size).params},
    }


def _about(number: int) -> str:
    """Two digits of a number, however large."""
    return f"{number:.2g}" if number < 10**300 else f"{str(number)[0]}.{str(number)[1]}e+{len(str(number)) - 1}"


# -- tables ------------------------------------------------------------------------------------------------------------


def _cost_table(name: str, arch: Arch, total: Cost) -> "Table":
    table = _table(">#", "layer", ">output", ">params", ">MACs", ">FLOPs", ">sees px")
    table.title = f"{name} for {arch.in_channels} x {total.image_size} x {total.image_size} images"
    table.show_footer = True
    words = (row.words for row in arch_rows(arch))
    others = end_words(arch)
    last = None
    for row in total.layers:
        if last is not None and (row.number == 0) != (last.number == 0):
            table.add_section()
        table.add_row(
            str(row.number) if row.kind == "conv" else "",
            others[row.name] if row.number == 0 else next(words),
            " x ".join(str(side) for side in (*row.out_shape[1:], row.out_shape[0])),
            *(f"{count:,}" if count else "" for count in (row.params, row.macs, row.flops)),
            str(row.receptive_field),
        )
        last = row
    for column, text in zip(
        table.columns[1:6], ("total", "", f"{total.params:,}", f"{total.macs:,}", f"{total.flops:,}"), strict=True
    ):
        column.footer = text
    return table


def _cost_notes(arch: Arch, total: Cost, transformer: TransformerCost) -> list[str]:
    before, size, side = total.params - total.head_params, total.image_size, arch.side(total.image_size)
    copy = f"The image is averaged to {side} x {side}; what a layer sees is counted in pixels of that."
    return [
        f"{total.params:,} parameters, {before:,} before the head; {total.macs:,} MACs; {total.gflops:.4f} GFLOPs.",
        *[copy] * (side != size),
        *[f"As trials train it, at {DEFAULT_TRIAL_SIZE} px: {_trained(arch, size)} GFLOPs."]
        * (not arch.is_same_at(size, DEFAULT_TRIAL_SIZE)),
        f"Not included: grid generator {transformer.grid_flops / 1e9:.4f} and sampler "
        f"{transformer.sampler_flops / 1e9:.4f} GFLOPs.",
    ]


def _summary(arch: Arch, image_size: int) -> tuple[str, str]:
    """Parameters and GFLOPs; dashes when the image is too small for `arch`."""
    try:
        total = cost(arch, image_size)
    except ArchError:
        return "–", "too small"
    return f"{total.params:,}", f"{total.gflops:.4f}"


def _trained(arch: Arch, image_size: int) -> str:
    """GFLOPs at the size that trials have unless they are told otherwise; `same` for one network at both sizes."""
    try:
        gflops = gflops_as_trained(arch, image_size=image_size, trial_size=DEFAULT_TRIAL_SIZE)
    except ArchError:
        return "too small"
    return "same" if gflops is None else f"{gflops:.4f}"


def _table(*columns: str) -> "Table":
    """An empty table; a column whose name starts with `>` is right-aligned."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, title_justify="left", title_style="bold", pad_edge=False, collapse_padding=True)
    for name in columns:
        if name.startswith(">"):
            table.add_column(name[1:], justify="right", no_wrap=True)
        else:
            table.add_column(name)
    return table


def _print(*parts: "Table | str") -> None:
    from lstn_search.watch.console import make_console

    console = make_console(wide=False)
    for part in parts:
        console.print(part)
