"""The command `eval`: one architecture at the full schedule, beside control and oracle."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lstn_search.cli.arch_words import ArchWords, name_arch
from lstn_search.cli.options import (
    Force,
    Given,
    Json,
    Quiet,
    RunStorage,
    SeedPointSpace,
    check_writable,
    options,
    with_settings,
)
from lstn_search.data.places import located
from lstn_search.jobs.launch import EngineOptions
from lstn_search.spec.arch import Arch
from lstn_search.spec.fields import OUTPUT, TRAINING, described
from lstn_search.spec.task import DEFAULT_DATASET, FULL_SCHEDULE, Task

if TYPE_CHECKING:
    from rich.table import Table

    from lstn_search.training.evaluation import EvalReport, Evaluation

__all__ = ["full_schedule_task", "register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval")(eval_command)


@with_settings(of_task=options(Task, place="full"), of_engine=options(EngineOptions, "cache_dir"))
def eval_command(
    of_task: Given,
    of_engine: Given,
    arch: ArchWords,
    space: SeedPointSpace = "lstn",
    out: Annotated[
        Path | None,
        typer.Option(help="Also write report.json and the trained model as code here.", rich_help_panel=OUTPUT),
    ] = None,
    force: Force = False,
    storage: RunStorage = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one architecture at the full schedule and test it, beside a control without a transformer and an oracle.

    By default 4,000 recover steps and 12 joint epochs; an architecture of a RUN is trained with the run's other
    settings. The test images are looked at once, at the end.
    """
    named = name_arch(arch, space, storage)
    chosen, name = named.arch, named.name
    task = located(full_schedule_task(of_task, named.task))
    if chosen is not None:
        from lstn_search.spec.cost import check_trainable

        check_trainable(chosen, task.image_size, task.trial_size)  # before anything is loaded

    if out is not None:
        from lstn_search.shipping.place import check_place

        check_writable(out)  # hours before it is written
        check_place(out, force=force)

    from lstn_search.api import evaluate
    from lstn_search.watch.console import make_console

    with make_console(stderr=True, quiet=quiet).status("data") as status:
        report = evaluate(
            chosen, task, name=name, out=out, force=force, cache_dir=of_engine.get("cache_dir"), on_stage=status.update
        )
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        _print(make_console(), report, chosen)


def full_schedule_task(given: Given, run_task: Task | None) -> Task:
    """The task: the run's where there is one (else on Caltech-101), at the full schedule, changed by what was given.

    With another protocol than the run's the training is that protocol's own.
    """
    base = {} if run_task is None else run_task.to_dict()
    protocol = given.get("protocol", base.get("protocol", "recover"))
    if base and protocol != base["protocol"]:
        base = {field.name: base[field.name] for field, known in described(Task) if known.panel != TRAINING}
    return Task.of(**{"dataset": DEFAULT_DATASET} | base | (FULL_SCHEDULE if protocol == "recover" else {}) | given)


def _print(console: Any, report: "EvalReport", arch: Arch | None) -> None:
    from lstn_search.spec.cost import gflops_as_trained
    from lstn_search.watch.progress import data_line
    from lstn_search.watch.tables import why_inert

    console.print(data_line(report.data))
    console.print(_table(report))
    row, task = report.arch, report.task
    if arch and (trained := gflops_as_trained(arch, image_size=task.image_size, trial_size=task.trial_size)):
        console.print(f"as trained, at {task.trial_size} px, it has {trained:.5f} GFLOPs")
    if row is not None and row.result.status == "failed":
        console.print(f"training failed: {row.result.reason}")
    elif row is not None and row.result.spread is not None:
        health = row.result
        console.print(
            f"theta is {'alive' if health.status == 'ok' else health.status}: spread over images {health.spread:.3f}, "
            f"out of frame {100 * (health.out_of_frame or 0):.0f} %, scale {health.scale:.2f}, "
            f"determinant {health.determinant:.2f}"
        )
        if health.status == "inert" and (why := why_inert(task)):
            console.print(why)
        if row.test and report.control.test:
            gain = row.test.top1 - report.control.test.top1
            console.print(f"test top-1 against the control: {gain:+.1f} points (one seed: see docs/trial.md on noise)")


def _table(report: "EvalReport") -> "Table":
    from rich import box
    from rich.table import Table

    from lstn_search.watch.tables import number

    task = report.task
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left", header_style="bold")
    table.title = f"{task.dataset}, {task.backbone}, {task.protocol} protocol, seed {task.seed}; top-1 / top-5 in %"
    for heading in ("", "params", f"GFLOPs\n{task.image_size} px", *_headings(task)):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for row in (report.control, report.arch, report.oracle):
        if row is not None:
            cost_cells = ["–", "–"] if row.params is None else [f"{row.params:,}", f"{row.gflops:.5f}"]
            table.add_row(
                row.name, *cost_cells, *_scores(row, task, number), style="bold" if row is report.arch else ""
            )
    return table


def _headings(task: Task) -> tuple[str, ...]:
    return ("val", "test") if task.view == "none" else ("val\nview", "test\nview", "val\nupright", "test\nupright")


def _scores(row: "Evaluation", task: Task, number: Any) -> list[str]:
    result, test, clean = row.result, row.test, row.test_clean
    pairs = [
        (result.val_top1, result.val_top5),
        (test and test.top1, test and test.top5),
        (result.val_clean_top1, result.val_clean_top5),
        (clean and clean.top1, clean and clean.top5),
    ]
    return [f"{number(top1)} / {number(top5)}" for top1, top5 in pairs[: len(_headings(task))]]
