"""The sections of a report about what the search did and left: theta, compute, pictures, trials, manifest, commands."""

import dataclasses
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from lstn_search.errors import LstnError
from lstn_search.pages import charts
from lstn_search.pages.facts.commands import CommandsInfo
from lstn_search.pages.facts.headline import duration, lstn_arch
from lstn_search.pages.facts.ledger import LedgerInfo
from lstn_search.pages.facts.rows import COLUMNS, trial_rows
from lstn_search.pages.facts.theta import ThetaInfo
from lstn_search.pages.section import Missing, Section, make_table, number
from lstn_search.pictures.picture import Picture, draw_picture, load_picture
from lstn_search.program import program

if TYPE_CHECKING:
    from lstn_search.runs.run import Run

__all__ = [
    "commands_section",
    "ledger_section",
    "manifest_section",
    "pictures_section",
    "theta_section",
    "trials_section",
]

MAX_NAMED = 50
"""Dead and failed architectures named; all are in the table of all trials."""


def theta_section(info: ThetaInfo, folder: Path) -> Section:
    """The health of theta, the dead by name."""
    title = "The health of theta"
    dead = [row for row in info.dead if row.status != "failed"]
    failed = len(info.dead) - len(dead)
    sentence = f"{len(info.points)} localizers have a theta to look at; {len(dead)} are dead, {failed} failed to train."
    note = (
        "Spread: standard deviation of theta over the validation images (0: the same warp for every image). Outside: "
        "sampling points that miss the image. Scale: above 1 it zooms out. Determinant: negative is mirrored."
    )
    pictures: tuple[Picture, ...] = ()
    if info.points:
        alt = f"Spread of theta against the share of sampling points outside the image. {sentence}"
        pictures = (draw_picture("theta", alt, charts.theta_figure, info, folder),)
    tables = []
    if info.dead:
        rows = [(row.name, row.status, number(row.rung, 0), row.reason) for row in info.dead[:MAX_NAMED]]
        more = "" if len(info.dead) <= MAX_NAMED else f", the first {MAX_NAMED} of {len(info.dead)}"
        tables.append(make_table(f"Dead or failed{more}", "name | what | #rung | reason", rows))
    named = [row for row in info.points if row.on_front or row.is_seed]
    if named:
        cells = [
            (row.name, row.status if row.status != "ok" else "alive", number(row.spread, 3),
             number(100 * row.out_of_frame), number(row.scale, 2), number(row.determinant, 2))
            for row in named
        ]  # fmt: skip
        headings = "name | theta | #spread | #outside % | #scale | #determinant"
        tables.append(make_table("Front and seed points", headings, cells, folded=bool(info.dead)))
    return Section(key="theta", title=title, sentence=sentence, notes=(note,), pictures=pictures, tables=tuple(tables))


def ledger_section(info: LedgerInfo, folder: Path) -> Section:
    """Where the compute went."""
    wall = "" if info.wall_seconds is None else f" in {duration(info.wall_seconds)} of wall time"
    sentence = (
        f"{duration(info.seconds)} of training{wall}; {info.front_share:.0f} % of it went into the architectures that "
        "stand on the front now."
    )
    pictures: tuple[Picture, ...] = ()
    if info.seconds > 0:
        alt = f"Seconds of training by stage. {sentence}"
        pictures = (draw_picture("ledger", alt, charts.ledger_figure, info, folder),)
    share = 100 / info.seconds if info.seconds else 0.0
    rows = [(stage.name, number(stage.num, 0), number(stage.seconds, 1), number(share * stage.seconds), stage.note)
            for stage in info.stages]  # fmt: skip
    rows.append(("total", number(None), number(info.seconds, 1), number(share * info.seconds), ""))
    table = make_table("The ledger", "stage | #number | #seconds | #% | note", rows, strong=[len(rows) - 1])
    return Section(key="ledger", title="Where the compute went", sentence=sentence, pictures=pictures, tables=(table,))


def pictures_section(run: "Run", folder: Path) -> Section:
    """What the best localizer and L-STN do to validation images, as far as weights and images are there."""
    title = "Before and after"
    lstn = next((entry for entry in run.entries if entry.candidate.arch == lstn_arch()), None)
    best = run.best
    wanted = [entry for entry in (best, lstn if lstn is not best else None) if entry is not None]
    pictures, missing = [], []
    for entry in wanted:
        name = entry.candidate.name
        arch = shlex.quote(f"{run.folder.path}:{name}")
        file = folder / f"before-after-{entry.candidate.number}.png"
        try:
            from lstn_search.pictures.before_after import draw_before_after

            folder.mkdir(parents=True, exist_ok=True)
            draw_before_after(run, entry, file)
        except LstnError as error:
            missing.append(Missing(what=f"{name}: {error}", command=f"{program()} show --arch {arch}"))
            continue
        alt = f"Validation images before and after the transformer of {name}, with the classifier's predictions."
        pictures.append(load_picture(file, alt))
    names = " and ".join(entry.candidate.name for entry in wanted)
    sentence = f"What the transformer of {names} does to validation images, and what the classifier then says."
    if not wanted:
        sentence = "There is no trained localizer on the front to look through yet."
    return Section(key="pictures", title=title, sentence=sentence, missing=tuple(missing), pictures=tuple(pictures))


def trials_section(run: "Run") -> Section:
    """Every architecture, for the script to show."""
    columns = [dict(zip(("name", "digits", "title"), column, strict=True)) for column in COLUMNS]
    return Section(
        key="trials",
        title="Every architecture",
        sentence=f"All {len(run.entries):,} that were trained, at their highest rung. A click on a heading sorts.",
        data={"columns": columns, "rows": trial_rows(run)},
    )


def manifest_section(run: "Run") -> Section:
    """The manifest, letter by letter but for the epochs of the references."""
    manifest = dict(run.folder.manifest)
    manifest["references"] = {
        name: [dataclasses.replace(result, history=()).to_dict() for result in getattr(run.references, name)]
        for name in ("control", "oracle")
    }
    return Section(
        key="manifest",
        title="The manifest",
        sentence="Settings, seeds, versions, hash of the images and hardware, as the search wrote them down.",
        text=json.dumps(manifest, indent=2, ensure_ascii=False),
    )


def commands_section(info: CommandsInfo) -> Section:
    """The commands to reproduce."""
    return Section(
        key="commands",
        title="The commands",
        sentence="What makes this run again, and what goes on from it; in the folder where it was started.",
        notes=info.notes,
        commands=(info.search, info.resume, *info.others),
    )
