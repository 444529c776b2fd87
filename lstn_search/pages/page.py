"""A run as one HTML page that needs nothing else: facts, then pictures, then the page around them.

The page holds its style, script and pictures, and forbids the browser to load anything more. Names and paths come from
users and are escaped wherever they stand. Whatever a run lacks is named, with the command that gets it.
"""

import base64
import dataclasses
import datetime
import hashlib
import importlib.metadata
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstn_search.atomic import write_atomically
from lstn_search.errors import RunError, why
from lstn_search.pages.facts.commands import CommandsInfo, commands_info
from lstn_search.pages.facts.growth import growth_info
from lstn_search.pages.facts.headline import HeadlineInfo, headline_info
from lstn_search.pages.facts.history import History, read_history
from lstn_search.pages.facts.ledger import ledger_info
from lstn_search.pages.facts.marginals import marginals_info
from lstn_search.pages.facts.theta import theta_info
from lstn_search.pages.facts.verified import error_bars
from lstn_search.pages.section import Missing, Section
from lstn_search.pictures.front_plot import front_info
from lstn_search.pictures.svg import dark_colours

if TYPE_CHECKING:
    from lstn_search.runs.run import Run
    from lstn_search.verification.result import Verification

__all__ = ["PAGE", "PICTURES", "WrittenReport", "report"]

PAGE = "report.html"
PICTURES = "report"
"""The folder of the PNGs, beside the page."""
TEMPLATE = Path(__file__).parent / "template"


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class WrittenReport:
    """What `report` wrote."""

    file: Path
    num_bytes: int
    num_pictures: int
    seconds: float


def report(run: "Run", out: Path | None = None, *, history: History | None = None) -> WrittenReport:
    """Write `out`/report.html and the pictures in `out`/report/; without `out`, into the run's folder.

    `history` is the run's, if it has been read already. Draws whatever the run holds. Raises RunError when `out` cannot
    be written, or the run's files cannot be read.
    """
    start = time.perf_counter()
    out = run.folder.path if out is None else out
    try:
        out.mkdir(parents=True, exist_ok=True)
        html, num_pictures = _page(run, read_history(run) if history is None else history, out / PICTURES)
        write_atomically(out / PAGE, html.encode())
    except OSError as error:
        where = error.filename or out
        raise RunError(f"{where} cannot be written {why(error, 'choose another --out')}") from None
    return WrittenReport(
        file=out / PAGE,
        num_bytes=len(html.encode()),
        num_pictures=num_pictures,
        seconds=time.perf_counter() - start,
    )


def _page(run: "Run", history: History, pictures: Path) -> tuple[str, int]:
    import jinja2
    from markupsafe import Markup

    from lstn_search.pages.sections import standings_table
    from lstn_search.verification.result import read_verification

    verification = read_verification(run.folder.path)
    headline, commands = headline_info(run, verification), commands_info(run)
    sections = list(_sections(run, history, headline, commands, verification, pictures))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "sort_keys": False}
    script = (TEMPLATE / "page.js").read_text(encoding="utf-8")
    version = importlib.metadata.version("lstn-search")
    moment = datetime.datetime.now().astimezone().isoformat(" ", "minutes")
    chosen = [row for row in (headline.best, headline.lstn) if row is not None]
    once = chosen[:1] if len(chosen) > 1 and chosen[0].name == chosen[1].name else chosen
    html = environment.get_template("page.html.j2").render(
        title=_title(headline),
        headline=headline,
        verified_sentence=_verified_sentence(verification),
        standings=standings_table(_caption(headline), headline, once),
        missing=_missing(run, headline, commands),
        warnings=[warning for section in sections if section.key == "fidelity" for warning in section.warnings],
        sections=sections,
        style=Markup((TEMPLATE / "page.css").read_text(encoding="utf-8")),
        dark_colours=Markup(dark_colours()),
        script=Markup(script),
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        footer=f"Drawn {moment} by lstn-search {version} from {run.folder.path}",
    )
    return html, sum(len(section.pictures) for section in sections)


def _sections(
    run: "Run",
    history: History,
    headline: HeadlineInfo,
    commands: CommandsInfo,
    verification: "Verification | None",
    pictures: Path,
) -> Iterator[Section]:
    """The sections, in the order of the page."""
    from lstn_search.pages import record_sections, sections
    from lstn_search.ranking.facts import fidelity_info

    yield sections.front_section(
        front_info(run, error_bars(verification, run.folder.settings.costs[0])), headline, commands, pictures
    )
    yield sections.verified_section(verification, run, pictures)
    yield sections.growth_section(growth_info(run, history), pictures)
    yield sections.architecture_section(run, headline, pictures)
    yield sections.choices_section(marginals_info(run, history), pictures)
    yield sections.fidelity_section(fidelity_info(run), run, pictures)
    yield record_sections.theta_section(theta_info(run), pictures)
    yield record_sections.ledger_section(ledger_info(run, history), pictures)
    yield record_sections.pictures_section(run, pictures)
    yield record_sections.trials_section(run)
    yield record_sections.manifest_section(run)
    yield record_sections.commands_section(commands)


def _title(headline: HeadlineInfo) -> str:
    return f"{headline.dataset}: localization nets within {headline.budget_gflops:g} GFLOPs"


def _caption(headline: HeadlineInfo) -> str:
    view = "upright" if headline.view == "none" else f"under the {headline.view} view"
    return (
        f"Validation top-1 {view}, classifier {headline.backbone}, trained at {headline.trial_size} px, GFLOPs at "
        f"{headline.image_size} px"
    )


def _missing(run: "Run", headline: HeadlineInfo, commands: CommandsInfo) -> list[Missing]:
    if headline.is_complete:
        return []
    what = "The search was interrupted: not everything has climbed as far as it would. To go on:"
    return [Missing(what=what, command=commands.resume.line)]


def _verified_sentence(verification: "Verification | None") -> str:
    picked = verification and next((row for row in verification.finalists if row.name == verification.pick), None)
    if not picked or picked.mean_val is None:
        return ""
    interval: Any = "" if picked.low_val is None else f" (95 % interval {picked.low_val:.1f} to {picked.high_val:.1f})"
    words = f": {'; '.join(picked.verdicts)}" if picked.verdicts else ""
    return f"Verified with {picked.num_seeds} fresh seeds: {picked.name}, {picked.mean_val:.1f} %{interval}{words}."
