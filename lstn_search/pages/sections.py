"""The sections of a report about its results: facts to sentences, tables and pictures, and what is missing.

The sections about what the search did and left are in record_sections.py.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lstn_search.errors import LstnError
from lstn_search.pages import charts
from lstn_search.pages.facts.commands import CommandsInfo
from lstn_search.pages.facts.growth import GrowthInfo
from lstn_search.pages.facts.headline import HeadlineInfo, Standing, duration, lstn_arch
from lstn_search.pages.facts.marginals import MIN_TRIALS, MarginalsInfo
from lstn_search.pages.section import Cell, Missing, Section, Table, make_table, number
from lstn_search.pictures.architecture_plot import ArchitectureInfo, architecture_info, draw_architecture
from lstn_search.pictures.front_plot import FrontInfo, front_figure
from lstn_search.pictures.picture import draw_picture
from lstn_search.program import program
from lstn_search.ranking.rank import MIN_ARCHITECTURES

if TYPE_CHECKING:
    from lstn_search.ranking.facts import FidelityInfo
    from lstn_search.runs.run import Run
    from lstn_search.verification.result import Finalist, Verification

__all__ = [
    "architecture_section",
    "choices_section",
    "fidelity_section",
    "front_section",
    "growth_section",
    "standings_table",
    "verified_section",
]

MAX_PANELS = 8
"""Choices drawn; all are in the table."""


def front_section(info: FrontInfo, headline: HeadlineInfo, commands: CommandsInfo, folder: Path) -> Section:
    """The front as a picture and as a table."""
    front, seeds = headline.front, headline.seeds
    if front:
        ends = [f"{row.name} ({row.gflops:.5f} GFLOPs, {row.accuracy:.1f} %)" for row in (front[0], front[-1])]
        between = f"from {ends[0]} to {ends[1]}" if len(front) > 1 else f"only {ends[0]}"
        sentence = (
            f"{len(front)} of {len(info.points)} measured architectures stand on the {headline.front_name}, {between}."
        )
    else:
        sentence = (
            "No architecture stands on the front: for that it must be jointly trained, alive, and within the budget."
        )
    missing = [] if front else [Missing(what="The front is empty.", command=commands.resume.line)]
    if headline.control is None:
        missing.append(Missing(what="Control and oracle have not been trained.", command=commands.resume.line))
    alt = (
        f"Accuracy against {info.cost.heading}, a point an architecture, coloured by joint epochs; the budget is a "
        f"line. {sentence}"
    )
    picture = draw_picture("front", alt, front_figure, info, folder)
    caption = "The front, cheapest first; then seed points, control and oracle"
    return Section(
        key="front",
        title="The front",
        sentence=sentence,
        notes=("Up and to the left is better. What stopped on a lower rung is below, with its own axis.",),
        missing=tuple(missing),
        pictures=(picture,) if info.points else (),
        tables=(standings_table(caption, headline, [*front, *seeds]),),
    )


def standings_table(caption: str, headline: HeadlineInfo, rows: Sequence[Standing]) -> Table:
    """Architectures, control and oracle, a row each."""
    all_rows = [*rows, *(row for row in (headline.control, headline.oracle) if row is not None)]
    upright = [] if headline.view == "none" else ["#upright %"]
    as_trained = ["#as trained"] * any(row.gflops_as_trained is not None for row in all_rows)
    caption += f"; as trained: GFLOPs at {headline.trial_size} px, where that is another network" * len(as_trained)
    headings = " | ".join(
        ["name", "#top-1 %", "#gap closed %", "#GFLOPs", *as_trained, "#params", *upright, "#epochs", "role"]
    )
    best = headline.best.name if headline.best else None
    strong = [i for i, row in enumerate(all_rows) if row.name == best]
    return make_table(
        caption, headings, [_standing_cells(row, headline, bool(as_trained)) for row in all_rows], strong=strong
    )


def _standing_cells(row: Standing, headline: HeadlineInfo, as_trained: bool) -> tuple[Cell | str, ...]:
    upright = [] if headline.view == "none" else [number(row.upright)]
    same = row.gflops is not None and row.gflops_as_trained is None
    trained = [Cell(text="same", value=row.gflops) if same else number(row.gflops_as_trained, 5)] * as_trained
    return (row.name, number(row.accuracy), number(row.gap_closed, 0), number(row.gflops, 5), *trained,
            number(row.params, 0), *upright, number(row.epochs, 0), _role(row))  # fmt: skip


def _role(row: Standing) -> str:
    roles = {"control": "no transformer", "oracle": "warp undone exactly", "L-STN": "the paper's"}
    words = [roles.get(row.role, row.role)]
    words += [] if row.status == "ok" else [row.status]
    words += ["over budget"] if row.over_budget else []
    return ", ".join(word for word in words if word != row.name)


def verified_section(verification: "Verification | None", run: "Run", folder: Path) -> Section:
    """What retraining with fresh seeds said; without it, that the values are of one seed."""
    title = "Verified with fresh seeds"
    if verification is None or not verification.finalists:
        what = "Not verified: these values are of one seed, and over-estimated, since the front was chosen by them."
        return Section(
            key="verified",
            title=title,
            sentence=what,
            missing=(
                Missing(what="To know better:", command=f"{program()} verify {shlex.quote(str(run.folder.path))}"),
            ),
        )
    seeds = len(verification.complete_seeds)
    sentence = f"The finalists and references retrained with {seeds} fresh seed{'s' * (seeds != 1)}"
    sentence += f"; the one-standard-error rule picks {verification.pick}." if verification.pick else "; no pick yet."
    picture = draw_picture(
        "verified",
        "Validation accuracy of each finalist: measured in the search, and its verified mean with a 95 % interval.",
        charts.verified_figure,
        verification.finalists,
        folder,
    )
    rows = verification.rows
    headings = (
        "name | #GFLOPs | #params | #seeds | #searched % | #validation % | 95 % | #test % | 95 % | #gap % | verdicts"
    )
    table = make_table(
        "Mean top-1 under the view over the seeds, with Student's t intervals; test images are looked at here only",
        headings,
        [_verified_cells(row) for row in rows],
        strong=[i for i, row in enumerate(rows) if row.name == verification.pick],
    )
    sentences = tuple(verification.sentences)
    return Section(
        key="verified", title=title, sentence=sentence, notes=sentences, pictures=(picture,), tables=(table,)
    )


def _verified_cells(row: "Finalist") -> tuple[Cell | str, ...]:
    def interval(low: float | None, high: float | None) -> str:
        return "–" if low is None or high is None else f"{low:.1f} to {high:.1f}"

    return (
        row.name, number(row.gflops, 5), number(row.params, 0), number(row.num_seeds, 0), number(row.searched_top1),
        number(row.mean_val), interval(row.low_val, row.high_val), number(row.mean_test),
        interval(row.low_test, row.high_test), number(row.gap_closed, 0), "; ".join(row.verdicts) or "–",
    )  # fmt: skip


def growth_section(info: GrowthInfo, folder: Path) -> Section:
    """The hypervolume over the compute that was spent."""
    title = "What the compute bought"
    if not info.points or not any(point.hypervolume for point in info.points):
        return Section(key="growth", title=title, sentence="No front yet, so there is no hypervolume to follow.")
    last = info.points[-1]
    reached = next(point for point in info.points if point.hypervolume >= 0.95 * last.hypervolume)
    sentence = (
        f"After {duration(last.seconds)} of training architectures the front's hypervolume is "
        f"{info.height(last.hypervolume):.1f} points, averaged over all budgets up to {info.limits}; "
        f"95 % of that was there after {duration(reached.seconds)}."
    )
    units = " × ".join(["points", *(cost.heading for cost in info.costs)])
    rest = (
        "" if [cost.name for cost in info.costs] == ["gflops"] else ", or a tenth above the dearest where there is none"
    )
    note = (
        f"Measured from the reference point {info.reference[0]:.1f} % and {info.limits}: the control after its "
        f"shortest joint training, and the budget{rest}. As {'an area' if len(info.costs) == 1 else 'a volume'}: "
        f"{last.hypervolume:.5f} {units}."
    )
    picture = draw_picture(
        "growth", f"Hypervolume against seconds of training. {sentence}",
        charts.growth_figure, info, folder,
    )  # fmt: skip
    return Section(key="growth", title=title, sentence=sentence, notes=(note,), pictures=(picture,))


def architecture_section(run: "Run", headline: HeadlineInfo, folder: Path) -> Section:
    """The best architecture layer by layer, beside L-STN."""
    size = run.task.image_size
    infos: list[ArchitectureInfo] = []
    missing: list[Missing] = []
    best = run.best
    if best is not None:
        infos.append(architecture_info(best.candidate.arch, size, best.candidate.name))
    else:
        missing.append(Missing(what="There is no best architecture yet."))
    if best is None or best.candidate.arch != lstn_arch():
        try:
            infos.append(architecture_info(lstn_arch(), size, "L-STN"))
        except LstnError as error:
            missing.append(Missing(what=f"L-STN cannot be built at this size: {error}."))
    parts = [f"{info.name} has {len(info.layers)} layers, {info.params:,} parameters and {info.gflops:.5f} GFLOPs"
             for info in infos]  # fmt: skip
    pictures, tables = [], []
    for info, name in zip(
        infos, ("architecture-best", "architecture-lstn") if best else ("architecture-lstn",), strict=False
    ):
        alt = (
            f"The layers of {info.name} from the image to theta, with shapes, parameters and GFLOPs; as a table below."
        )
        pictures.append(draw_picture(name, alt, draw_architecture, info, folder))
        rows = [
            (row.name, row.what, "×".join(map(str, row.out_shape)), number(row.params, 0), number(row.gflops, 6))
            for row in info.layers
        ]
        caption = f"{info.name}, layer by layer"
        tables.append(make_table(caption, "layer | what | output | #params | #GFLOPs", rows, folded=True))
    return Section(
        key="architecture",
        title="The best architecture beside L-STN" if best is not None else "L-STN",
        sentence=f"At {size} px: {'; '.join(parts)}." if parts else "Nothing can be drawn.",
        missing=tuple(missing),
        pictures=tuple(pictures),
        tables=tuple(tables),
    )


def choices_section(info: MarginalsInfo, folder: Path) -> Section:
    """What the choices did."""
    title = "What the choices did"
    if not info.choices:
        return Section(key="choices", title=title, sentence="No searched architecture has been measured yet.")
    searched = "one searched architecture" if info.num == 1 else f"{info.num} searched architectures"
    values = [
        (choice.name, value.value, number(value.num, 0), number(value.mean), number(value.spread), number(value.best))
        for choice in info.choices
        for value in choice.values
    ]
    value_headings = "choice | value | #n | #mean % | #st. dev. | #best %"
    table = make_table("Accuracy at rung 0 by value", value_headings, values, folded=True)
    shown = [choice for choice in info.choices if len(choice.values) > 1 and choice.num >= info.num / 2][:MAX_PANELS]
    if info.num < MIN_TRIALS or not shown:
        why = f"fewer than {MIN_TRIALS}" if info.num < MIN_TRIALS else "no choice took two values"
        sentence = f"Nothing can be said about any choice: over {searched}, {why}."
        return Section(key="choices", title=title, sentence=sentence, tables=(table,))
    sentence = (
        f"Over {searched}, what mattered most by PED-ANOVA was {info.choices[0].name}; the measure is the "
        f"{info.measure}."
    )
    picture = draw_picture(
        "choices",
        "For each important choice: mean accuracy at rung 0 and its standard deviation, a dot a value.",
        charts.marginals_figure,
        shown,
        folder,
    )
    importances = [
        (choice.name, number(choice.num, 0), number(choice.importance), number(choice.explained, 0))
        for choice in info.choices
    ]
    importance_headings = "choice | #n | #PED-ANOVA % | #explained %"
    notes = (
        "Dots: mean, hollow for a single network; lines: one standard deviation; below each value, how many networks "
        "have it. A sampler prefers what did well: this describes the search and does not prove effects.",
        "PED-ANOVA: what tells the best quarter from all, in percent of all choices. Explained: epsilon squared, the "
        "share of variance one choice explains by itself; 0 or less is what chance gives.",
    )
    return Section(
        key="choices",
        title=title,
        sentence=sentence,
        notes=notes,
        pictures=(picture,),
        tables=(make_table("Importance of each choice", importance_headings, importances, folded=True), table),
    )


def fidelity_section(info: "FidelityInfo", run: "Run", folder: Path) -> Section:
    """Whether the rungs rank."""
    measured = (*info.correlations, *([info.deployment] if info.deployment else []))
    found = [row for row in measured if row.num >= MIN_ARCHITECTURES]
    trusted = sum(row.verdict == "trust it" for row in found)
    doubtful = sum(row.is_doubtful for row in found)
    sentence = (
        f"Of {len(found)} pairs of measures, {trusted} can be trusted to rank alike and {doubtful} cannot; of the "
        "others there are too few architectures to say more than a hint."
    )
    command = f"{program()} fidelity {shlex.quote(str(run.folder.path))} --deployment 8"
    missing = (
        ()
        if info.deployment
        else (Missing(what=f"{info.deployment_sentence[0].upper()}{info.deployment_sentence[1:]}:", command=command),)
    )
    key, title = "fidelity", "Whether the rungs rank"
    if not found:
        sentence = f"Fewer than {MIN_ARCHITECTURES} architectures have two measures, too few to compare their ranks."
        return Section(key=key, title=title, sentence=sentence, missing=missing)
    against = info.longest if any(row.b == info.longest for row in found) else found[-1].b
    shown = [row for row in found if row.b == against or row is info.deployment]
    picture = draw_picture(
        "fidelity", "Kendall's tau and its 95 % interval of each measure; the table below has the numbers.",
        charts.fidelity_figure, shown, folder,
    )  # fmt: skip
    rows = [(row.a, row.b, number(row.num, 0), number(row.num_left_out, 0), number(row.tau, 2), number(row.low, 2),
             number(row.high, 2), row.verdict) for row in found]  # fmt: skip
    headings = "measure | against | #n | #left out | #tau | #low | #high | verdict"
    return Section(
        key=key,
        title=title,
        sentence=sentence,
        notes=tuple(f"{note[0].upper()}{note[1:]}." for note in info.notes),
        warnings=tuple(f"{warning}." for warning in info.warnings),
        missing=missing,
        pictures=(picture,),
        tables=(make_table("Kendall's tau with its 95 % bootstrap interval", headings, rows, folded=True),),
    )
