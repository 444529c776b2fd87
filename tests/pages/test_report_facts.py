"""The facts of a report are those of its study, each counted a second way."""

import dataclasses
import io
import itertools
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from report_runs import BUDGET_GFLOPS, NUM_TRIALS, make_references, make_run, make_settings, make_verification
from rich.console import Console
from scipy import stats
from tiny_spaces import SKIPS, with_warp

from lstn_search.cli import main
from lstn_search.nets.localizer import Localizer
from lstn_search.pages.facts import theta
from lstn_search.pages.facts.commands import commands_info
from lstn_search.pages.facts.growth import growth_info, reference_point
from lstn_search.pages.facts.headline import duration, headline_info, lstn_arch
from lstn_search.pages.facts.history import History, open_with_history, read_history
from lstn_search.pages.facts.ledger import ledger_info
from lstn_search.pages.facts.marginals import explained_share, marginals_info
from lstn_search.pages.facts.rows import COLUMNS, trial_rows
from lstn_search.pages.facts.theta import reason_of_death, theta_info
from lstn_search.pages.sections import choices_section, fidelity_section, standings_table
from lstn_search.pictures.architecture_plot import architecture_info, draw_architecture, summary
from lstn_search.pictures.palette import LIGHT, drawing
from lstn_search.program import program
from lstn_search.ranking.facts import fidelity_info
from lstn_search.runs.folder import RunFolder
from lstn_search.runs.run import Run
from lstn_search.shipping.export import model_facts
from lstn_search.spec import pareto
from lstn_search.spec.arch import Arch
from lstn_search.spec.blocks import block_layers
from lstn_search.spec.cost import cost
from lstn_search.spec.fields import described
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import TrialResult, gap_closed
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.space import load_space
from lstn_search.spec.task import Task
from lstn_search.spec.warp_families import DEFAULT_WARP, WARP_FAMILIES
from lstn_search.watch.tables import front_table


@pytest.fixture(scope="module")
def run(complete_run: Run) -> Run:
    return complete_run


@pytest.fixture(scope="module")
def history(run: Run) -> History:
    return read_history(run)


@pytest.fixture(scope="module")
def told(run: Run) -> pd.DataFrame:
    """Every finished rung, straight from the database: trial, rung, GFLOPs and the columns of its result."""
    study = optuna.load_study(study_name=run.folder.rungs_name, storage=run.folder.storage.open())
    return pd.DataFrame(
        [{"trial": t.user_attrs["trial"], "rung": t.user_attrs["rung"], "gflops": t.values[1]}
         | json.loads(t.user_attrs["result"]) for t in study.get_trials()]
    )  # fmt: skip


# -- history -----------------------------------------------------------------------------------------------------------


def test_the_history_is_the_study(run: Run, history: History, told: pd.DataFrame) -> None:
    assert [(number, rung) for number, rung, _ in history.rungs] == list(zip(told.trial, told.rung, strict=True))
    kinds = pd.Series([proposal.kind for proposal in history.proposals]).value_counts()
    assert (kinds["seed"], kinds["trial"]) == (5, NUM_TRIALS)
    assert kinds["rejected"] == run.folder.manifest["counts"]["rejected"] > 0
    space = load_space("lstn")
    archs = {entry.candidate.number: entry.candidate.arch for entry in run.entries}
    for proposal in history.proposals:
        if proposal.kind == "trial":
            assert space.expand(dict(proposal.choices)) == archs[proposal.number]


def test_one_reading_gives_the_run_and_its_history(run: Run, history: History) -> None:
    opened, read = open_with_history(run.folder.path)
    assert read == history
    assert (opened.entries, opened.references) == (run.entries, run.references)
    assert opened.folder.manifest == run.folder.manifest


# -- headline ----------------------------------------------------------------------------------------------------------


def test_the_headline_is_the_best_beside_lstn(run: Run, told: pd.DataFrame) -> None:
    info = headline_info(run)
    best = run.pick("best")
    assert info.best is not None and info.lstn is not None and info.control is not None and info.oracle is not None
    assert (info.best.name, info.best.gflops, info.best.params) == (
        best.candidate.name, best.candidate.gflops, best.candidate.params)  # fmt: skip
    rows = told[(told.trial == best.candidate.number) & (told.rung == 3)]
    assert info.best.accuracy == rows.val_top1.item()
    assert info.lstn.params == 869_200
    references = make_references()
    assert (info.control.accuracy, info.oracle.accuracy) == (
        references.control[3].val_top1,
        references.oracle[3].val_top1,
    )
    assert info.best.gap_closed == gap_closed(info.best.accuracy, 58.0, 78.0)
    assert [row.name for row in info.front] == [entry.candidate.name for entry in run.front]


def test_the_headline_says_n_seed_hardware_and_seconds(run: Run, told: pd.DataFrame) -> None:
    info = headline_info(run)
    assert f"n = 5 seed points and {NUM_TRIALS} searched architectures" in info.setting
    assert "seed 0" in info.setting and "12 min 34 s of wall time" in info.setting
    assert run.folder.manifest["hardware"]["processor"] in info.setting
    references = [result.seconds for rows in (run.references.control, run.references.oracle) for result in rows]
    assert info.trained_seconds == pytest.approx(81.5 + sum(references) + told.seconds.sum())
    last = told.sort_values("rung").groupby("trial").status.last()
    assert info.num_dead == last.isin(["inert", "collapsed"]).sum() > 1
    assert info.num_failed == (last == "failed").sum() > 0


def test_the_sentence_compares_with_lstn(run: Run) -> None:
    info = headline_info(run)
    assert info.best is not None and info.lstn is not None and info.best.accuracy and info.lstn.accuracy
    sentence = info.sentence
    assert sentence.startswith(
        f"{info.best.name} reaches {info.best.accuracy:.1f} % with {info.best.gflops:.5f} GFLOPs"
    )
    assert f"L-STN ({info.lstn.accuracy:.1f} %" in sentence


@pytest.mark.parametrize(
    ("points", "words"),
    [(0.1, ": level with L-STN (60.0 %), "), (-1.4, ": level with L-STN (60.0 %), "),
     (2.0, ": 2.0 points above L-STN (60.0 %)"), (-3.0, ": 3.0 points below L-STN (60.0 %)")],
)  # fmt: skip
def test_what_one_seed_may_do_is_called_level(run: Run, points: float, words: str) -> None:
    info = headline_info(run)
    assert info.best is not None and info.lstn is not None
    best = dataclasses.replace(info.best, name="t1", accuracy=60 + points)
    info = dataclasses.replace(info, best=best, lstn=dataclasses.replace(info.lstn, accuracy=60.0))
    assert words in info.sentence


@pytest.mark.parametrize(("num_seeds", "is_verified"), [(0, False), (1, False), (3, True)])
def test_a_verdict_that_is_not_verified_says_so_and_how_noisy_it_is(
    run: Run, num_seeds: int, is_verified: bool
) -> None:
    verification = make_verification(run)
    if num_seeds < 2:  # no interval
        alone = [dataclasses.replace(row, low_val=None, high_val=None) for row in verification.finalists]
        verification = dataclasses.replace(verification, finalists=tuple(alone))
    sentence = headline_info(run, verification if num_seeds else None).sentence
    assert ("Not verified: one training each, and one seed moves a net by up to 1.5 points." in sentence) != is_verified
    assert ("verified" in sentence.lower()) != is_verified
    assert f"The classifier alone reaches {make_references().control[3].val_top1:.1f} %." in sentence


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.6, "9.6 s"), (41.2, "41 s"), (59.7, "1 min 00 s"), (2382, "39 min 42 s"),
     (3599.9, "1 h 00 min"), (7500, "2 h 05 min"), (3.6e6, "1,000 h 00 min")],
)  # fmt: skip
def test_seconds_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# -- hypervolume against compute ---------------------------------------------------------------------------------------


def test_the_last_hypervolume_is_that_of_the_front(run: Run, history: History, told: pd.DataFrame) -> None:
    info = growth_info(run, history)
    points = [(entry.accuracy, entry.candidate.gflops) for entry in run.front]
    assert info.reference == reference_point(run) == (42.0, BUDGET_GFLOPS)  # the control after two epochs
    assert info.points[-1].hypervolume == pytest.approx(pareto.hypervolume(points, info.reference), rel=1e-12)
    assert info.points[-1].hypervolume == pytest.approx(staircase(points, info.reference), rel=1e-12)
    assert info.points[-1].seconds == pytest.approx(told.seconds.sum())
    assert info.points[-1].num_architectures == len(run.entries)
    assert info.points[-1].num_on_front == len(points)


def staircase(points: list[pareto.Point], reference: pareto.Point) -> float:
    """The area as a sum of boxes, for a front sorted by cost."""
    edges = [gflops for _, gflops in points] + [reference[1]]
    return sum((accuracy - reference[0]) * (edges[i + 1] - edges[i]) for i, (accuracy, _) in enumerate(points))


def volume(points: list[pareto.Point], reference: pareto.Point) -> float:
    """In slabs of the last cost: what the others span over each, of all that is affordable there."""
    if len(reference) == 1:
        return max([accuracy - reference[0] for (accuracy,) in points], default=0.0)
    edges = sorted({point[-1] for point in points} | {reference[-1]})
    return sum(
        (high - low) * volume([point[:-1] for point in points if point[-1] <= low], reference[:-1])
        for low, high in itertools.pairwise(edges)
    )


def test_with_parameters_as_an_objective_the_hypervolume_is_a_volume(run_of_three_objectives: Run) -> None:
    run = run_of_three_objectives
    info = growth_info(run, read_history(run))
    most = max(entry.candidate.params for entry in run.entries)
    assert info.reference == (42.0, BUDGET_GFLOPS, pytest.approx(1.1 * most))
    points: list[pareto.Point] = [(e.accuracy, e.candidate.gflops, float(e.candidate.params)) for e in run.front]
    assert info.points[-1].hypervolume == pytest.approx(volume(points, info.reference), rel=1e-9)
    assert info.points[-1].num_on_front == len(points)
    assert info.height(info.points[-1].hypervolume) * BUDGET_GFLOPS * 1.1 * most == pytest.approx(
        info.points[-1].hypervolume
    )


def test_the_curve_is_the_front_of_every_beginning(run: Run, history: History, told: pd.DataFrame) -> None:
    """Against a front that is computed anew, from the raw rows, after each rung."""
    info = growth_info(run, history)
    curve = {round(point.seconds, 6): point.hypervolume for point in info.points}
    over = {entry.candidate.number for entry in run.entries if entry.candidate.over_budget}
    area = 0.0
    for end in range(1, len(told) + 1):
        last = told[:end].groupby("trial").last()  # nobody is demoted here: the last row is the highest rung
        offered = last[(last.status == "ok") & last.val_top1.notna() & ~last.index.isin(over)]
        expected = pareto.hypervolume(list(zip(offered.val_top1, offered.gflops, strict=True)), info.reference)
        area = curve.get(round(told.seconds[:end].sum(), 6), area)
        assert area == pytest.approx(expected, rel=1e-9)
    assert len(info.points) < len(told)


def test_the_height_is_the_mean_over_budgets(run: Run, history: History) -> None:
    info, front = growth_info(run, history), run.front
    budgets = [BUDGET_GFLOPS * (i + 0.5) / 20_000 for i in range(20_000)]
    heights = [max([e.accuracy - 42.0 for e in front if e.candidate.gflops <= budget], default=0) for budget in budgets]
    assert info.height(info.points[-1].hypervolume) == pytest.approx(sum(heights) / len(heights), rel=1e-3)


# -- choices -----------------------------------------------------------------------------------------------------------


def test_marginals_are_those_of_a_data_frame(run: Run, history: History, told: pd.DataFrame) -> None:
    info = marginals_info(run, history)
    first = told[told.rung == 0].set_index("trial").frozen_top1.dropna()
    chosen = pd.DataFrame({p.number: dict(p.choices) for p in history.proposals if p.kind == "trial"}, dtype=object).T
    assert info.num == chosen.index.isin(first.index).sum() < NUM_TRIALS  # some have failed
    for choice in info.choices:
        column = chosen[choice.name].dropna()
        column = column[column.index.isin(first.index)].map(as_shown)
        assert choice.num == len(column)
        assert {value.value for value in choice.values} == set(column)
        for value in choice.values:
            group = first[column.index[column == value.value]]
            assert (value.num, value.best) == (len(group), group.max())
            assert value.mean == pytest.approx(group.mean())
            assert value.spread == (None if len(group) == 1 else pytest.approx(group.std()))


def as_shown(value: Any) -> str:
    return {"True": "yes", "False": "no"}.get(str(value), str(value))


def test_the_explained_share_is_that_of_an_anova() -> None:
    groups = [[40.0, 42.0, 45.0], [48.0, 51.0], [44.0, 43.0, 47.0, 46.0]]
    f, k, n = stats.f_oneway(*groups).statistic, len(groups), sum(map(len, groups))
    between_to_within = f * (k - 1) / (n - k)
    assert explained_share(groups) == pytest.approx(100 * (1 - (n - 1) / (n - k) / (1 + between_to_within)))


@pytest.mark.parametrize("groups", [[[1.0, 2.0]], [[1.0], [2.0]], [[3.0, 3.0], [3.0]]])
def test_nothing_is_explained_where_there_is_nothing_to_compare(groups: list[list[float]]) -> None:
    assert explained_share(groups) is None


def test_a_planted_choice_is_the_most_important(run: Run, history: History) -> None:
    """Made-up scores that depend on one choice and nothing else."""
    planted = {p.number: float(p.choices["stem.width"]) for p in history.proposals if p.kind == "trial"}
    entries = [
        type(entry)(
            candidate=entry.candidate, results=[TrialResult(status="ok", frozen_top1=planted[entry.candidate.number])]
        )
        for entry in run.entries
        if entry.candidate.number in planted
    ]
    info = marginals_info(Run(folder=run.folder, entries=entries), history)
    assert info.choices[0].name == "stem.width"
    assert info.choices[0].explained == 100
    assert sum(choice.importance or 0 for choice in info.choices) == pytest.approx(100)


@pytest.fixture(scope="module")
def few(run: Run) -> Run:
    """The first architectures only: fewer than 20, and of none that climbed as many as six."""
    first = [entry for entry in run.entries if not entry.candidate.is_seed][:12]
    return dataclasses.replace(run, entries=[dataclasses.replace(e, results=e.results[:2]) for e in first])


def test_nothing_is_said_of_choices_over_fewer_than_20(few: Run, history: History, tmp_path: Path) -> None:
    info = marginals_info(few, history)
    section = choices_section(info, tmp_path)
    assert info.num < 20 and section.pictures == ()
    assert section.sentence == (
        f"Nothing can be said about any choice: over {info.num} searched architectures, fewer than 20."
    )
    assert [table.caption for table in section.tables] == ["Accuracy at rung 0 by value"]


def test_no_tau_is_shown_over_fewer_than_six(few: Run, tmp_path: Path) -> None:
    scarce = dataclasses.replace(few, entries=few.entries[:5])
    info = fidelity_info(scarce)
    assert info.correlations and all(row.num < 6 for row in info.correlations)
    section = fidelity_section(info, scarce, tmp_path)
    assert section.sentence == "Fewer than 6 architectures have two measures, too few to compare their ranks."
    assert (section.pictures, section.tables) == ((), ())


# -- theta -------------------------------------------------------------------------------------------------------------


def test_the_bounds_of_death_are_those_of_the_training() -> None:
    from lstn_search.training import health

    for name in ("INERT_SPREAD", "COLLAPSED_OUT_OF_FRAME", "COLLAPSED_SCALE"):
        assert getattr(theta, name) == getattr(health, name)


def test_everybody_has_a_theta_and_the_dead_a_reason(run: Run, told: pd.DataFrame) -> None:
    info = theta_info(run)
    assert len(info.points) == told[told.spread.notna()].trial.nunique()
    names = {entry.candidate.name: entry.candidate.number for entry in run.entries}
    bad = told[told.status != "ok"].set_index("trial").status
    assert {names[row.name]: row.status for row in info.dead} == bad.to_dict()
    assert {row.status for row in info.dead} == {"inert", "collapsed", "failed"}


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"status": "inert", "spread": 0.0031}, "theta is the same for every image: spread 0.0031, below 0.02"),
        ({"status": "collapsed", "spread": 1.0, "out_of_frame": 0.83, "scale": 2.0},
         "83 % of its sampling points lie outside the image, more than 70 %"),
        ({"status": "collapsed", "spread": 1.0, "out_of_frame": 0.2, "scale": 0.02},
         "it zooms in without bounds: scale 0.02, not within 0.1 to 4"),
        ({"status": "collapsed", "spread": float("nan"), "out_of_frame": 0.2, "scale": 1.0}, "theta is not finite"),
        ({"status": "failed", "reason": "the loss is nan"}, "the loss is nan"),
    ],
)  # fmt: skip
def test_the_reason_names_the_broken_bound(result: dict[str, Any], reason: str) -> None:
    assert reason_of_death(TrialResult(**result)).startswith(reason)


# -- ledger ------------------------------------------------------------------------------------------------------------


def test_the_ledger_adds_up(run: Run, history: History, told: pd.DataFrame) -> None:
    info = ledger_info(run, history)
    references = [result for rows in (run.references.control, run.references.oracle) for result in rows]
    assert info.seconds == pytest.approx(81.5 + sum(result.seconds for result in references) + told.seconds.sum())
    stages = {stage.name: stage for stage in info.stages}
    measured = told[told.status != "failed"].groupby("rung").seconds.agg(["sum", "size"])
    for rung, name in enumerate(
        (
            f"recover, {run.task.recover_steps:,} steps in all",
            "joint epochs 1 to 2",
            "joint epochs 3 to 6",
            "joint epochs 7 to 18",
        )
    ):
        assert (stages[name].seconds, stages[name].num) == (
            pytest.approx(measured["sum"][rung]),
            measured["size"][rung],
        )
    failed = told[told.status == "failed"]
    assert (stages["failed rungs"].seconds, stages["failed rungs"].num) == (
        pytest.approx(failed.seconds.sum()),
        len(failed),
    )
    rejected = run.folder.manifest["counts"]["rejected"]
    assert (stages["rejected proposals"].seconds, stages["rejected proposals"].num) == (0, rejected)
    assert stages["duplicates"].seconds == 0
    front = told[told.trial.isin([entry.candidate.number for entry in run.front])]
    assert info.seconds == pytest.approx(headline_info(run).trained_seconds)  # the page has one total
    assert info.front_share == pytest.approx(100 * front.seconds.sum() / info.seconds)
    assert info.wall_seconds == 754.2


# -- architectures and rows --------------------------------------------------------------------------------------------


def test_the_drawn_layers_are_those_of_the_network(run: Run) -> None:
    for entry in run.entries[:12]:
        info = architecture_info(entry.candidate.arch, 64, entry.candidate.name)
        network = Localizer(entry.candidate.arch, 64)
        assert sum(row.params for row in info.layers) == info.params == sum(p.numel() for p in network.parameters())
        assert sum(row.gflops for row in info.layers) == pytest.approx(info.gflops)
        assert info.layers[-1].out_shape == (6,)
        words = " ".join(row.what for row in info.layers)
        assert words.count("BN") == sum(layer.norm != "none" for layer in entry.candidate.arch.layers)
        assert words.count("max ") == sum(layer.max_pool > 1 for layer in entry.candidate.arch.layers)


def test_lstn_is_drawn_as_the_paper_has_it() -> None:
    info = architecture_info(lstn_arch(), 224, "L-STN")
    convolutions = [row for row in info.layers if row.kind == "conv"]
    assert len(convolutions) == 17
    assert sum(row.params for row in convolutions) == 3690
    assert convolutions[0].what == "3×3 stride 2, BN, ReLU"
    assert [row.out_shape[1] for row in convolutions[::3]] == [112, 110, 108, 54, 54, 52]
    assert f"{info.gflops:.4f}" == "0.0257"


def test_a_residual_unit_is_drawn_with_its_sum() -> None:
    unit = {"kind": "residual", "kernel": 3}
    layers = [*lstn_arch().layers[:1], *block_layers(unit, 4, "conv-bn-act")]
    info = architecture_info(Arch(layers=tuple(layers)), 64, "residual")
    assert info.layers[1].what == "3×3, BN, ReLU, + input"
    assert info.layers[1].gflops * 1e9 == 32 * 32 * 4 * (4 * 9 + 1 + 2 + 1)


def test_an_architecture_in_a_line() -> None:
    assert summary(load_space("lstn").seeds["light"]) == "dw3 1-16p2 dw3 1-32 | pool 1"
    assert summary(load_space("lstn").seeds["stn"]) == "7-8p2 5-10p2 | flatten, 32"
    assert summary(load_space("lstn").seeds["places"]) == "look 64 | 3/2-12 3/2-24 3-24 | soft-argmax, 32"
    assert summary(SKIPS) == "1-16 dw3+ 1-3+3 5/2-8p2 5-8g2+ | flatten, 32"


def test_a_look_and_a_soft_argmax_are_drawn() -> None:
    info = architecture_info(load_space("lstn").seeds["places"], 224, "places")
    assert [(row.name, row.what) for row in info.layers if row.kind not in ("conv", "linear")] == [
        ("look", "average the image"),
        ("head.soft-argmax", "x, y, spread, mean"),
    ]
    assert [row.what for row in info.layers[1:3]] == ["3×3 stride 2, BN, ReLU"] * 2
    with drawing(LIGHT):
        assert len(draw_architecture(info, LIGHT).axes) == 1


def test_what_is_another_network_at_the_size_of_the_trials_has_two_costs(run: Run) -> None:
    info = headline_info(run)
    rows = {row.name: row for row in (*info.front, *info.seeds, info.lstn) if row is not None}
    assert rows["lstn"].gflops_as_trained == cost(lstn_arch(), 64).gflops == 0.001782512
    assert rows["places"].gflops_as_trained is None
    for entry in run.entries:
        if (row := rows.get(entry.candidate.name)) is not None:
            small = entry.candidate.arch.look is not None and entry.candidate.arch.look <= 64
            assert (row.gflops_as_trained is None) == small
    table = standings_table("All", info, [rows["lstn"], rows["places"]])
    cells = [dict(zip([h for h, _ in table.headings], (c.text for c in line), strict=True)) for line in table.rows]
    assert [(line["GFLOPs"], line["as trained"]) for line in cells] == [
        ("0.02572", "0.00178"), ("0.00263", "same"), ("–", "–"), ("–", "–")]  # fmt: skip
    assert table.caption == "All; as trained: GFLOPs at 64 px, where that is another network"
    alone = standings_table("All", info, [rows["places"]])
    assert alone.caption == "All" and "as trained" not in dict(alone.headings)


def test_an_exported_file_says_whether_its_net_is_the_one_that_was_costed(run: Run) -> None:
    assert model_facts(run, run.find("places"))["GFLOPs at 224 px"] == "0.002633"
    lstn = model_facts(run, run.find("lstn"))
    assert lstn["GFLOPs if built for 224 px"] == "0.025721" and "GFLOPs at 224 px" not in lstn


def test_the_terminal_s_front_has_both_costs_in_80_columns(run: Run) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(front_table(run))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert "as trained: GFLOPs at 64 px, where that is another network" in lines
    assert sum(line.endswith("alive") for line in lines) >= len(run.front)
    cells = {line.split()[0]: line.split()[1:3] for line in lines if line.strip()}
    assert cells["lstn"] == ["0.02572", "0.00178"]
    assert cells["places"] == ["0.00263", "same"]


@pytest.mark.parametrize("warp", WARP_FAMILIES)
def test_the_last_layer_names_its_warp_and_its_numbers(warp: str) -> None:
    arch = with_warp(load_space("lstn").seeds["light"], warp)
    last = architecture_info(arch, 64, "light").layers[-1]
    assert last.what == f"linear: {Localizer(arch, 64).last.out_features} numbers, {warp}"
    assert summary(arch).removeprefix("dw3 1-16p2 dw3 1-32 | pool 1") == ("" if warp == DEFAULT_WARP else f", {warp}")


def test_there_is_a_row_an_architecture(run: Run) -> None:
    names = [name for name, _, _ in COLUMNS]
    table = pd.DataFrame(trial_rows(run), columns=names).set_index("name")
    assert list(table.index) == [entry.candidate.name for entry in run.entries]
    assert set(table[table.role == "front"].index) == {entry.candidate.name for entry in run.front}
    for entry in run.entries:
        row = table.loc[entry.candidate.name]
        assert row.params == entry.candidate.params and row.GFLOPs == round(entry.candidate.gflops, 5)
        assert (row.theta == "alive") == (entry.status == "ok")
        assert ("over budget" in row.note) == (entry.candidate.gflops > BUDGET_GFLOPS)
    json.dumps(trial_rows(run), allow_nan=False)


# -- commands ----------------------------------------------------------------------------------------------------------


def untrained(path: Path, **settings: Any) -> Run:
    return Run(folder=RunFolder(path, {"settings": make_settings(**settings).to_dict()}), entries=[])


OTHERS: dict[str, Any] = {
    "dataset": "folder:/it's $HOME & co", "data_dir": "/data/of mine", "backbone": "resnet18", "device": "cpu",
    "poses": "/boxes of mine.csv", "pretrained": True, "backbone_weights": "/weights of mine.pt", "mean": "0.4,0.5,0.6",
    "std": "0.2,0.2,0.3", "augment": "my.code:brighter", "start_from": "runs/an earlier one",
    "objectives": ("accuracy", "params", "gflops"),
}  # fmt: skip
"""Other values of settings that are free text."""


def one_changed() -> list[dict[str, Any]]:
    """For each option of a task or a search: settings in which it alone is not at its default."""
    found: list[dict[str, Any]] = []
    for cls in (Task, SearchSettings):
        for field, known in described(cls):
            if not known.is_option:
                continue
            for other in [choice for choice in known.choices if choice != field.default] or [OTHERS.get(field.name)]:
                if other is None:
                    other = 1 / 3 if field.default is dataclasses.MISSING else field.default / 2 or 7
                    other = int(other) if field.type is int else other
                change = {"dataset": "glyphs", field.name: other}
                found.append({"task": Task.of(**change)} if cls is Task else {field.name: other})
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        *one_changed(),
        {"task": Task(dataset="caltech101", data_dir="/data/of mine", image_size=128, trial_size=48, view_strength=0.5,
                      seed=3, batch_size=32, recover_steps=77, device="cpu", backbone="resnet18"),
         "seed": 3, "sampler": "nsga2"},
        {"task": Task.paper(dataset="glyphs", epochs=10, max_epochs=20), "budget_scope": "stn", "budget_gflops": 1 / 3},
        {"ladder": Ladder(epochs=(1, 2), eta=2)},
    ],
)  # fmt: skip
def test_the_search_command_asks_for_the_same_search(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line, run up to the search itself, comes to the settings of the manifest."""
    from lstn_search.study import search as driver

    seed = settings["task"].seed if "task" in settings else 0  # an option sets both
    run = untrained(tmp_path / "run", **settings | {"seed": seed})
    asked: list[Any] = []

    def search(space: Any, settings: SearchSettings, out: Path, *rest: Any, **options: Any) -> Any:
        asked.append((settings, out, options))
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "search", search)
    monkeypatch.setattr("lstn_search.data.places.located", lambda task: task)  # there are no such images
    commands = commands_info(run)
    for line in (commands.search.line, commands.resume.line):
        words = shlex.split(line)
        start = program().split()
        assert words[: len(start) + 1] == [*start, "search"]
        monkeypatch.setattr(sys, "argv", words[len(start) - 1 :])
        with pytest.raises(SystemExit):
            main()
    (again, out, options), (resumed, same_out, more) = asked
    assert again == resumed == run.folder.settings
    assert (out, options["resume"]) == (Path("OTHER_DIR"), False)
    assert (same_out, more["resume"]) == (run.folder.path, True)


def test_the_number_of_trials_is_the_one_that_was_asked_for(run: Run) -> None:
    assert f"--trials {NUM_TRIALS} " in commands_info(run).search.line
    assert "is not recorded" in " ".join(commands_info(run).notes)
    manifest = run.folder.manifest | {"trials": 77}
    asked = dataclasses.replace(run, folder=RunFolder(run.folder.path, manifest))
    assert "--trials 77 " in commands_info(asked).search.line
    assert "is not recorded" not in " ".join(commands_info(asked).notes)
    assert f"{NUM_TRIALS} searched architectures of 77 asked for" in headline_info(asked).setting


def test_what_no_option_says_is_said(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run", trials=1, rungs=0, task=Task(dataset="glyphs", lr=0.5), seed=7, space_digest="other"
    )
    notes = " ".join(commands_info(run).notes)
    assert "lr = 0.5, sampler seed = 7" in notes
    assert "give its path" in notes


def test_every_command_names_the_run_so_that_a_shell_finds_it(tmp_path: Path) -> None:
    run = untrained(tmp_path / "a run; rm -rf" / "here")
    lines = [command.line for command in itertools.chain([commands_info(run).resume], commands_info(run).others)]
    assert all(any(str(run.folder.path) in word for word in shlex.split(line)) for line in lines)
