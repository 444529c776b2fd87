"""Pictures of what a localizer does: their facts are those of torch and of Pillow, and what is drawn can be seen."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from image_trees import class_tree, truncate, write_image
from PIL import Image, ImageChops
from small_training import ARCH, OTHER_ARCH, SIZE_PX
from torch import nn

import lstn_search as ls
from lstn_search.errors import CheckpointError, DataError, SettingError
from lstn_search.nets.localizer import Localizer
from lstn_search.nets.transformer import SpatialTransformer, TransformedClassifier
from lstn_search.pictures.before_after import (
    STEPS_BETWEEN,
    Pictures,
    before_after_info,
    draw_before_after,
    draw_trained,
    film_info,
    pick_pictures,
    read_pictures,
)
from lstn_search.pictures.before_after_drawing import END_MS, PAUSE_MS, RIGHT, STEP_MS, WRONG, draw_pages, draw_picture
from lstn_search.pictures.trained import Snapshot, Trained, train_for_show, trained_of_evaluation, trained_of_run
from lstn_search.runs.run import Run
from lstn_search.shipping.export import write_evaluation
from lstn_search.spec.results import TrialResult
from lstn_search.training.evaluation import EvalReport, Evaluation
from lstn_search.training.prepared import Prepared
from lstn_search.training.warm import Warm
from lstn_search.training.workbench import Workbench

TURNED = (0.8 * math.cos(0.4), -0.8 * math.sin(0.4), 0.2, 0.8 * math.sin(0.4), 0.8 * math.cos(0.4), -0.1)
"""Rotated, enlarged and shifted."""


def constant(theta: tuple[float, ...]) -> Localizer:
    """A localizer that says this theta whatever it sees."""
    localizer = Localizer(ARCH, SIZE_PX)
    with torch.no_grad():
        localizer.last.bias.copy_(torch.tensor(theta))
    return localizer.eval().requires_grad_(False)


def halved(localizer: nn.Module) -> dict[str, torch.Tensor]:
    return {name: t.half() if t.is_floating_point() else t for name, t in localizer.state_dict().items()}


@pytest.fixture(scope="module")
def turning(bench: Workbench, warm: Warm) -> Trained:
    """A localizer that turns everything alike, before the warm classifier; its snapshots lead there."""
    half_way = tuple((a + b) / 2 for a, b in zip(TURNED, (1, 0, 0, 0, 1, 0), strict=True))
    return Trained(
        name="turning",
        source="nowhere",
        task=bench.task,
        localizer=constant(TURNED),
        classifier=warm.weights,
        val_top1=12.3,
        snapshots=(
            Snapshot(stage="recover", at=150, localizer=halved(constant(half_way))),
            Snapshot(stage="joint", at=1, localizer=halved(constant(TURNED))),
        ),
    )


@pytest.fixture(scope="module")
def pictures(bench: Workbench) -> Pictures:
    return pick_pictures(bench.dataset, 5)


# -- which images ------------------------------------------------------------------------------------------------------


def test_validation_images_are_shown_no_two_of_a_class_while_there_are_classes_left(bench: Workbench) -> None:
    dataset = bench.dataset
    picked = pick_pictures(dataset, 13, seed=3)
    val = {dataset.images_NHWC[i].numpy().tobytes() for i in dataset.val_I}
    assert {image.numpy().tobytes() for image in picked.images_NHWC} <= val
    assert len(set(picked.names[:6])) == len(set(picked.names[6:12])) == 6
    assert picked.labels_N is not None
    assert picked.names == tuple(dataset.class_names[label] for label in picked.labels_N.tolist())


def test_equal_seeds_show_equal_images(bench: Workbench) -> None:
    a, b, other = (pick_pictures(bench.dataset, 4, seed=seed).images_NHWC for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, other)
    assert torch.equal(pick_pictures(bench.dataset, 2, seed=1).images_NHWC, a[:2])


def test_image_files_are_read_in_the_order_of_their_names_and_their_truth_is_not_known(
    tmp_path: Path, turning: Trained, bench: Workbench
) -> None:
    class_tree(tmp_path, {"b": 2, "a": 1}, suffix=".png")
    read = read_pictures(tmp_path, SIZE_PX, 2)
    assert read.names == ("a/image_0000.png", "b/image_0000.png")
    first = Image.open(tmp_path / "a/image_0000.png").resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
    assert np.array_equal(read.images_NHWC[0].numpy(), np.asarray(first))
    info = before_after_info(turning, bench.dataset, read)
    assert info.num_right is None
    assert {sighting.guess.is_right for sighting in info.sightings} == {None}


def test_a_folder_without_images_or_with_a_damaged_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image file"):
        read_pictures(tmp_path, SIZE_PX, 2)
    with pytest.raises(DataError, match="holds no image file"):
        read_pictures(tmp_path / "missing", SIZE_PX, 2)
    write_image(tmp_path / "broken.png")
    truncate(tmp_path / "broken.png")
    with pytest.raises(DataError, match=r"broken\.png is damaged"):
        read_pictures(tmp_path, SIZE_PX, 2)


# -- the facts ---------------------------------------------------------------------------------------------------------


def test_the_frame_is_where_the_grid_of_the_output_begins_and_ends(
    turning: Trained, bench: Workbench, pictures: Pictures
) -> None:
    grid_HW2 = F.affine_grid(torch.tensor([TURNED]).view(1, 2, 3), [1, 1, 2, 2], align_corners=True)[0]
    corners = [grid_HW2[0, 0], grid_HW2[0, 1], grid_HW2[1, 1], grid_HW2[1, 0]]  # align_corners: the very corners
    for sighting in before_after_info(turning, bench.dataset, pictures).sightings:
        assert np.abs(np.array(sighting.frame) - torch.stack(corners).numpy()).max() < 1e-6


def test_the_output_is_what_the_transformer_makes_of_the_input(
    turning: Trained, bench: Workbench, pictures: Pictures
) -> None:
    transformer = SpatialTransformer(turning.localizer)
    for sighting in before_after_info(turning, bench.dataset, pictures).sightings:
        x_BCHW = torch.tensor(sighting.input_HWC).permute(2, 0, 1)[None] / 127.5 - 1
        output_HWC = (transformer(x_BCHW)[0][0].permute(1, 2, 0) + 1) * 127.5
        # the input is rounded to whole greys here and not there
        assert np.abs(sighting.output_HWC - output_HWC.numpy()).max() <= 1.01


def test_the_output_is_what_pillow_makes_of_a_smooth_input(turning: Trained, bench: Workbench) -> None:
    across = (np.arange(SIZE_PX) + 0.5) / SIZE_PX
    x, y = np.meshgrid(across, across)
    smooth = np.stack([128 + 60 * np.sin(2 * x + y), 128 + 60 * np.cos(3 * y), 100 + 80 * x * y], axis=2)
    images_NHWC = torch.from_numpy(smooth.round().astype(np.uint8))[None]
    shown = Pictures(names=("smooth",), images_NHWC=images_NHWC, labels_N=None)
    sighting = before_after_info(turning, bench.dataset, shown, num_views=0).sightings[0]
    a, b, c, d, e, f = TURNED  # of [-1, 1]; Pillow wants pixels, from the image's upper left corner
    half = SIZE_PX / 2
    moved = (a, b, half * (c + 1 - a - b), d, e, half * (f + 1 - d - e))
    image = Image.fromarray(images_NHWC[0].numpy())
    by_pillow = np.asarray(
        image.transform((SIZE_PX, SIZE_PX), Image.Transform.AFFINE, moved, Image.Resampling.BILINEAR), dtype=float
    )
    u, v = 2 * x - 1, 2 * y - 1
    inside = np.maximum(abs(a * u + b * v + c), abs(d * u + e * v + f)) < 1 - 2 / SIZE_PX  # not at the image's edge
    assert inside.mean() > 0.5
    assert np.abs(sighting.output_HWC.astype(float) - by_pillow)[inside].max() <= 2


def test_each_view_is_a_warp_of_the_image_as_it_is(turning: Trained, bench: Workbench, pictures: Pictures) -> None:
    info = before_after_info(turning, bench.dataset, pictures, num_views=2, seed=7)
    assert info.views == ("as it is", "view 1", "view 2")
    for image, upright_HWC in zip(info.images, pictures.images_NHWC, strict=True):
        as_it_is, *warped = (sighting.input_HWC for sighting in image.sightings)
        assert np.array_equal(as_it_is, upright_HWC.numpy())
        assert all(not np.array_equal(view, as_it_is) for view in warped)
    fewer = before_after_info(turning, bench.dataset, pictures, num_views=0, seed=7)
    assert fewer.views == ("as it is",)


def test_a_task_without_a_view_shows_images_as_they_are(turning: Trained, bench: Workbench, pictures: Pictures) -> None:
    upright = dataclasses.replace(turning, task=dataclasses.replace(turning.task, view="none"))
    assert before_after_info(upright, bench.dataset, pictures).views == ("as it is",)


def test_the_guesses_are_those_of_the_workbench(bench: Workbench, warm: Warm, turning: Trained) -> None:
    """Over all validation images as they are, without the warp and with it."""
    val_I, dataset = bench.dataset.val_I, bench.dataset
    everything = Pictures(
        names=tuple(map(str, val_I.tolist())), images_NHWC=dataset.images_NHWC[val_I], labels_N=dataset.labels_N[val_I]
    )
    info = before_after_info(turning, dataset, everything, num_views=0)
    model = TransformedClassifier(SpatialTransformer(turning.localizer), warm.backbone(bench))
    turned, _ = bench.evaluate(model, val_I, view=None)
    assert info.num_right is not None
    without, right = (100 * count / len(val_I) for count in info.num_right)
    assert without == pytest.approx(warm.val_clean.top1)
    assert right == pytest.approx(turned.top1)
    assert right < without
    for sighting in info.sightings:
        assert 1 / 6 <= sighting.guess.probability <= 1


# -- the film ----------------------------------------------------------------------------------------------------------


def test_a_film_goes_from_the_identity_through_every_snapshot_to_the_end(
    turning: Trained, bench: Workbench, pictures: Pictures
) -> None:
    film = film_info(turning, bench.dataset, pictures, num_views=1)
    assert len(film) == 1 + 2 * STEPS_BETWEEN
    first, half_way, last = film[0], film[STEPS_BETWEEN], film[-1]
    assert (first.caption, half_way.caption, last.caption) == (
        "untrained: the identity",
        "recover, after 150 steps",
        "joint, after 1 epoch",
    )
    assert film[1].caption == "recover, towards step 150"
    for sighting in first.sightings:
        assert sighting.frame == ((-1, -1), (1, -1), (1, 1), (-1, 1))
        assert np.abs(sighting.input_HWC.astype(int) - sighting.output_HWC).max() <= 1  # resampled in floating point
        assert sighting.guess.label == sighting.without.label
        assert sighting.guess.probability == pytest.approx(sighting.without.probability, abs=1e-4)
    still = before_after_info(turning, bench.dataset, pictures, num_views=1)
    for in_film, in_still in zip(last.sightings, still.sightings, strict=True):
        assert np.array(in_film.frame) == pytest.approx(np.array(in_still.frame), abs=2e-3)  # half precision


def test_between_snapshots_corners_go_in_straight_lines(turning: Trained, bench: Workbench, pictures: Pictures) -> None:
    film = film_info(turning, bench.dataset, pictures, num_views=1)
    corners = np.array([[sighting.frame for sighting in page.sightings] for page in film[: STEPS_BETWEEN + 1]])
    steps = np.diff(corners, axis=0)
    assert np.abs(steps - steps[0]).max() < 1e-6
    assert np.abs(steps[0]).max() > 0.01


def test_a_run_of_an_older_version_has_no_film(turning: Trained, bench: Workbench, pictures: Pictures) -> None:
    older = dataclasses.replace(turning, snapshots=())
    with pytest.raises(CheckpointError, match=r"no snapshots of the training of turning; train it again with: show"):
        film_info(older, bench.dataset, pictures)
    paper = dataclasses.replace(older, task=dataclasses.replace(older.task, protocol="paper"))
    with pytest.raises(SettingError, match="the paper's training leaves no snapshots for a film"):
        film_info(paper, bench.dataset, pictures)


# -- what is drawn -----------------------------------------------------------------------------------------------------


def test_the_picture_is_as_wide_as_its_views_and_as_high_as_its_images(turning: Trained, bench: Workbench) -> None:
    def size(num_images: int, num_views: int) -> tuple[int, int]:
        part = pick_pictures(bench.dataset, num_images)
        return draw_picture(before_after_info(turning, bench.dataset, part, num_views=num_views)).size

    assert size(2, 3)[1] - size(1, 3)[1] == size(3, 3)[1] - size(2, 3)[1] > 100
    assert size(2, 3)[0] - size(2, 2)[0] == size(2, 2)[0] - size(2, 1)[0] > 200
    assert size(4, 0)[0] == size(2, 3)[0]  # four pairs beside each other, either way
    assert size(5, 0)[0] == size(4, 0)[0] < 1400


def test_right_and_wrong_differ_in_more_than_colour(turning: Trained, bench: Workbench, pictures: Pictures) -> None:
    info = before_after_info(turning, bench.dataset, pictures)

    def marked(is_right: bool) -> Image.Image:
        images = tuple(
            dataclasses.replace(
                image,
                sightings=tuple(
                    dataclasses.replace(s, guess=dataclasses.replace(s.guess, is_right=is_right))
                    for s in image.sightings
                ),
            )
            for image in info.images
        )
        page = draw_picture(dataclasses.replace(info, images=images))
        colours = {colour for _, colour in page.getcolors(1 << 24)}
        assert tuple(bytes.fromhex((RIGHT if is_right else WRONG)[1:])) in colours
        return page

    below = slice(150, None)  # under the heading, which counts them
    right, wrong = (np.asarray(marked(is_right).convert("L"))[below] < 200 for is_right in (True, False))
    assert (right != wrong).any()


def test_the_frame_is_drawn_where_the_facts_have_it(turning: Trained, bench: Workbench, pictures: Pictures) -> None:
    """Two pages that differ in one frame differ along it, and in no place else."""
    info = before_after_info(turning, bench.dataset, pictures, num_views=0)
    moved = tuple((0.5 * x, 0.5 * y) for x, y in info.sightings[0].frame)
    first = info.images[0]
    sighting = dataclasses.replace(first.sightings[0], frame=moved)
    other = dataclasses.replace(info, images=(dataclasses.replace(first, sightings=(sighting,)), *info.images[1:]))
    tile_px = 100
    a, b = draw_pages([info, other], tile_px=tile_px)
    assert a.size == b.size
    left, top, right, bottom = ImageChops.difference(a, b).getbbox() or (0, 0, 0, 0)
    xs, ys = zip(*info.sightings[0].frame, strict=True)
    assert right - left == pytest.approx((max(xs) - min(xs)) * tile_px / 2, abs=8)
    assert bottom - top == pytest.approx((max(ys) - min(ys)) * tile_px / 2, abs=8)


@pytest.mark.parametrize(("suffix", "kind"), [(".png", "PNG"), (".webp", "WEBP"), (".jpg", "JPEG"), (".JPEG", "JPEG")])
def test_the_suffix_says_the_format(tmp_path: Path, suffix: str, kind: str, small_run: Run, small_cache: Path,
                                    monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("LSTN_CACHE_DIR", str(small_cache))
    file = tmp_path / f"picture{suffix}"
    draw_before_after(small_run, small_run.pick("best"), file, num_images=2)
    with Image.open(file) as image:
        assert image.format == kind
        assert getattr(image, "n_frames", 1) == 1


@pytest.mark.parametrize(("name", "kind"), [("film.gif", "GIF"), ("film.webp", "WEBP")])
def test_the_film_of_a_run_has_a_page_a_step_and_stays_at_the_end(
    tmp_path: Path, name: str, kind: str, small_run: Run, small_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSTN_CACHE_DIR", str(small_cache))
    info = ls.show(small_run, "best", tmp_path / name, num_images=1, num_views=0, animate=True)
    entry = small_run.pick("best")
    epochs = entry.result.epochs
    assert info.caption == f"joint, after {epochs} epoch{'' if epochs == 1 else 's'}"
    num_snapshots = len(trained_of_run(small_run, entry).snapshots)
    durations = []
    with Image.open(tmp_path / name) as film:
        assert film.format == kind
        for number in range(film.n_frames):
            film.seek(number)
            film.load()
            durations.append(film.info["duration"])
    steps = [PAUSE_MS, *([*[STEP_MS] * (STEPS_BETWEEN - 1), PAUSE_MS] * num_snapshots)]
    assert sum(durations) == sum(steps[:-1]) + END_MS
    assert durations[0] == PAUSE_MS and durations[-1] == END_MS
    assert num_snapshots < len(durations) <= len(steps)  # pages that are alike are one, and stay longer


def test_what_cannot_be_written_is_refused_by_name(tmp_path: Path, turning: Trained) -> None:
    with pytest.raises(SettingError, match=r"a picture is written as \.png"):
        draw_trained(turning, tmp_path / "picture.bmp")
    with pytest.raises(SettingError, match=r"an animation is written as \.gif, \.webp, got 'film\.png'"):
        draw_trained(turning, tmp_path / "film.png", animate=True)
    with pytest.raises(SettingError, match="number of images must be at least 1, got 0"):
        draw_trained(turning, tmp_path / "picture.png", num_images=0)


# -- where the trained parts come from ---------------------------------------------------------------------------------


def test_what_a_run_trained_scores_what_the_run_wrote(small_run: Run, bench: Workbench) -> None:
    for entry in small_run.front:
        trained = trained_of_run(small_run, entry)
        model = TransformedClassifier(
            SpatialTransformer(trained.localizer), trained.build_classifier(bench.dataset.num_classes)
        )
        assert bench.evaluate(model, bench.dataset.val_I, view=bench.view)[0].top1 == pytest.approx(trained.val_top1)
        assert [snapshot.stage for snapshot in trained.snapshots].count("joint") == entry.rung


def test_an_entry_that_was_only_recovered_cannot_be_shown(small_run: Run, tmp_path: Path) -> None:
    recovered = [entry for entry in small_run.entries if entry.rung == 0]
    assert recovered
    with pytest.raises(CheckpointError, match="no jointly trained weights"):
        draw_before_after(small_run, recovered[0], tmp_path / "picture.png")


def test_other_images_than_it_was_trained_on_are_noticed(turning: Trained, small_cache: Path) -> None:
    with pytest.raises(DataError, match="have changed since turning was trained"):
        dataclasses.replace(turning, fingerprint="0" * 64).load_dataset(cache_dir=small_cache)


def test_a_classifier_of_other_classes_is_refused(turning: Trained) -> None:
    with pytest.raises(CheckpointError, match="is not test_byobnet with 7 classes"):
        turning.build_classifier(7)


@pytest.mark.usefixtures("unproved")
def test_what_eval_wrote_comes_back(tmp_path: Path, bench: Workbench, warm: Warm) -> None:
    localizer = constant(TURNED)
    model = TransformedClassifier(SpatialTransformer(localizer), warm.backbone(bench))
    row = Evaluation(
        name="turning", params=1, gflops=1.0, result=TrialResult(status="ok", val_top1=55.5), test=None, test_clean=None
    )
    write_evaluation(tmp_path, EvalReport(task=bench.task, control=row, oracle=None, arch=row), model, bench)
    trained = trained_of_evaluation(tmp_path)
    assert (trained.name, trained.task, trained.val_top1, trained.snapshots) == ("turning", bench.task, 55.5, ())
    x_BCHW = next(iter(bench.eval_batches(bench.dataset.val_I[:3], bench.view))).x_BCHW
    assert torch.equal(trained.localizer(x_BCHW), localizer(x_BCHW))
    classifier = trained.build_classifier(bench.dataset.num_classes)
    assert torch.equal(classifier(x_BCHW), model.backbone.eval()(x_BCHW))


def test_a_folder_that_holds_no_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no evaluated localizer"):
        trained_of_evaluation(tmp_path)
    (tmp_path / "report.json").write_text('{"task": {"dataset": "glyphs"}, "arch": null}')
    with pytest.raises(CheckpointError, match="holds no evaluated localizer"):
        trained_of_evaluation(tmp_path)


def test_a_training_made_for_the_picture_leaves_its_snapshots(
    bench: Workbench, warm: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "task", dataclasses.replace(bench.task, recover_steps=50))
    stages: list[str] = []
    trained = train_for_show(Prepared(bench, warm), OTHER_ARCH, name="other", on_stage=stages.append)
    assert stages[0] == "other: recover" and stages[-1] == "other: joint 2/2"
    assert [(snapshot.stage, snapshot.at) for snapshot in trained.snapshots] == [
        *(("recover", at) for at in (2, 5, 10, 25, 50)), ("joint", 1), ("joint", 2)
    ]  # fmt: skip
    last, x_BCHW = trained.localizer_at(trained.snapshots[-1]), torch.rand(4, 3, SIZE_PX, SIZE_PX)
    assert (last(x_BCHW) - trained.localizer(x_BCHW)).abs().max() < 5e-3
