"""The picture of a front shows the facts of its run, and its names hide nothing."""

import dataclasses
import itertools
import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_search import BUDGET_GFLOPS, make_settings

from lstn_search.pictures import front_plot
from lstn_search.pictures.front_plot import FrontInfo, PlotPoint, draw_front, front_info
from lstn_search.pictures.palette import LIGHT
from lstn_search.runs.folder import RunFolder
from lstn_search.runs.run import Run
from lstn_search.spec.results import References, TrialResult


def made_up(num_points: int) -> FrontInfo:
    """A front of as many points, every third one of them on it, and seed points on either side of the budget."""
    rng = random.Random(0)
    points = [
        PlotPoint(
            name=f"t{number}",
            cost=0.0004 * 80 ** (number / num_points),
            accuracy=52 + 14 * number / num_points - (0 if number % 3 == 0 else rng.uniform(0.2, 4)),
            is_seed=False,
            over_budget=False,
            on_front=number % 3 == 0,
            is_dead=number % 7 == 1,
        )
        for number in range(num_points)
    ]
    for name, gflops, accuracy in (("stn", 0.0793, 61.4), ("vstn", 0.0863, 60.2), ("lstn", 0.0257, 62.6)):
        over = gflops > 0.03
        points.append(
            PlotPoint(
                name=name,
                cost=gflops,
                accuracy=accuracy,
                is_seed=True,
                over_budget=over,
                on_front=False,
                is_dead=False,
            )
        )
    return FrontInfo(
        title="made up", budget_gflops=0.03, image_size=224, view="affine", control=47.0, oracle=66.3,
        points=tuple(points),
    )  # fmt: skip


# -- the facts ---------------------------------------------------------------------------------------------------------


def test_the_facts_are_the_entries(small_run: Run) -> None:
    info = front_info(small_run)
    assert [point.name for point in info.points] == [entry.candidate.name for entry in small_run.entries]
    for point, entry in zip(info.points, small_run.entries, strict=True):
        assert (point.cost, point.accuracy) == (entry.candidate.gflops, entry.accuracy)
        assert point.on_front == (entry in small_run.front)
        assert point.over_budget == (point.cost > BUDGET_GFLOPS)
        assert point.is_dead == (entry.status in ("inert", "collapsed"))
        assert point.epochs == (entry.result.epochs or 0)
    assert {point.name for point in info.points if point.is_seed} == {"good", "costly", "outside"}
    assert (info.budget_gflops, info.image_size, info.view) == (BUDGET_GFLOPS, 48, "affine")
    assert info.control == small_run.references.control[-1].val_top1
    assert info.oracle == small_run.references.oracle[-1].val_top1


def test_a_failed_trial_has_no_point(small_run: Run) -> None:
    failed = dataclasses.replace(small_run.entries[0], results=[TrialResult(status="failed", reason="nan")])
    info = front_info(dataclasses.replace(small_run, entries=[failed, *small_run.entries[1:]]))
    assert len(info.points) == len(small_run.entries) - 1


def test_a_budget_for_the_whole_transformer_leaves_less_for_the_localizer(small_run: Run, small_space: Any) -> None:
    settings = make_settings(small_space, small_run.folder.settings.task, budget_gflops=0.01, budget_scope="stn")
    folder = RunFolder(small_run.folder.path, {"settings": settings.to_dict()})
    info = front_info(dataclasses.replace(small_run, folder=folder))
    assert info.budget_gflops == pytest.approx(0.01 - 48 * 48 * 28 / 1e9)


def test_without_a_view_there_is_no_oracle(small_run: Run, small_space: Any) -> None:
    task = dataclasses.replace(small_run.folder.settings.task, view="none")
    folder = RunFolder(small_run.folder.path, {"settings": make_settings(small_space, task).to_dict()})
    assert front_info(dataclasses.replace(small_run, folder=folder)).oracle is None


def test_before_the_references_are_trained(small_run: Run) -> None:
    info = front_info(dataclasses.replace(small_run, references=References()))
    assert (info.control, info.oracle) == (None, None)


# -- the picture -------------------------------------------------------------------------------------------------------


def colours(file: Path) -> dict[tuple[int, int, int], int]:
    with Image.open(file) as image:
        assert image.format == "PNG"
        assert image.width == 1280 and image.height in (832, 960)  # without and with a lower panel
        counted: Any = image.convert("RGB").getcolors(1 << 22)
    return {colour: count for count, colour in counted}


def rgb(name: str) -> tuple[int, int, int]:
    return (int(name[1:3], 16), int(name[3:5], 16), int(name[5:7], 16))


def test_everything_is_drawn_in_its_colour(tmp_path: Path) -> None:
    draw_front(made_up(30), tmp_path / "full.png")
    drawn = colours(tmp_path / "full.png")
    wanted = (LIGHT.front, LIGHT.seed, LIGHT.alert, LIGHT.quiet, LIGHT.rung(0, 0))
    assert all(drawn.get(rgb(colour), 0) > 50 for colour in wanted)
    assert [entry.name for entry in tmp_path.iterdir()] == ["full.png"]


@pytest.mark.parametrize("missing", ["points", "control", "oracle", "front", "both"])
def test_what_is_missing_is_left_out(tmp_path: Path, missing: str) -> None:
    info = made_up(12)
    match missing:
        case "points":
            info = dataclasses.replace(info, points=())
        case "front":
            points = tuple(dataclasses.replace(point, on_front=False) for point in info.points)
            info = dataclasses.replace(info, points=points)
        case "both":
            info = dataclasses.replace(info, control=None, oracle=None)
        case _:
            info = dataclasses.replace(info, **{missing: None})
    draw_front(info, tmp_path / "front.png")
    blue = colours(tmp_path / "front.png").get(rgb(LIGHT.front), 0)
    assert (blue > 0) == (missing not in ("points", "front"))


@pytest.mark.parametrize("num_points", [6, 60])
def test_names_do_not_lie_on_each_other(tmp_path: Path, num_points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    label = front_plot._label_points
    monkeypatch.setattr(
        front_plot, "_label_points", lambda figure, *rest: (figures.append(figure), label(figure, *rest))
    )
    info = made_up(num_points)
    draw_front(info, tmp_path / "front.png")
    axes = figures[0].axes[0]
    names = {point.name for point in info.points if point.on_front or point.is_seed}
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert set(boxes) == names | {"budget 0.03", "oracle 66.3", "control 47.0"}
    assert not [pair for pair in itertools.combinations(boxes, 2) if boxes[pair[0]].overlaps(boxes[pair[1]])]
    assert all(axes.bbox.x0 < box.x0 and box.x1 < figures[0].bbox.x1 for box in boxes.values())


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "front.png").mkdir()
    with pytest.raises(OSError):
        draw_front(made_up(3), tmp_path / "front.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["front.png"]
