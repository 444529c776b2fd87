"""Images that were never upright: poses say what to recover, what the oracle sees, what the classifier learns.

And the frame readers: what they are, how they are named, and where they never stand.
"""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from posed_scenes import NUM, SCENE_PX, Box, draw_scenes, write_boxes
from small_search import make_folder, make_settings
from small_training import ARCH, recover, run_trial, small_task
from torch import nn

from lstn_search.errors import SettingError
from lstn_search.nets.transformer import TransformedClassifier
from lstn_search.nets.warps import corner_error_px
from lstn_search.runs.entries import Entry, make_candidate
from lstn_search.runs.run import Run
from lstn_search.spec.names import SCORED_FILLS
from lstn_search.spec.results import TrialResult
from lstn_search.spec.space import Space
from lstn_search.training.placing import complete_poses
from lstn_search.training.prepared import Prepared
from lstn_search.training.recovery import RecoverTraining, alignment, build_localizer
from lstn_search.training.references import reference_key
from lstn_search.training.trial import start_trial
from lstn_search.training.warm import Warm, warm_backbone, warm_key
from lstn_search.training.workbench import Workbench

Make = Callable[..., Workbench]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Box]]:
    root = tmp_path_factory.mktemp("scenes")
    return root, draw_scenes(root)


@pytest.fixture(scope="module")
def make_posed(scenes: tuple[Path, dict[str, Box]], small_cache: Path) -> Make:
    def make(**settings: Any) -> Workbench:
        changes = {"trial_size": SCENE_PX, "view": "none", "poses": str(scenes[0] / "boxes.csv"), "recover_steps": 200}
        task = small_task(scenes[0] / "images", **{**changes, **settings})
        return Workbench(task, cache_dir=small_cache, progress=False)

    return make


@pytest.fixture(scope="module")
def posed(make_posed: Make) -> Workbench:
    return make_posed()


@pytest.fixture(scope="module")
def posed_warm(posed: Workbench, small_cache: Path) -> Warm:
    return warm_backbone(posed, small_cache)


# -- poses -------------------------------------------------------------------------------------------------------------


def by_hand(image_HWC: torch.Tensor, box: Box) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The object of a scene, cut out and turned back point by point, normalised by mean and deviation 0.5."""
    image = image_HWC.double().numpy() / 255 * 2 - 1
    x1, y1, x2, y2, degrees = box
    turn, cut = math.radians(degrees), np.zeros_like(image)
    for row in range(SCENE_PX):
        for column in range(SCENE_PX):
            across = ((column + 0.5) / SCENE_PX - 0.5) * (x2 - x1)
            down = ((row + 0.5) / SCENE_PX - 0.5) * (y2 - y1)
            x = (x1 + x2) / 2 + math.cos(turn) * across - math.sin(turn) * down - 0.5
            y = (y1 + y2) / 2 + math.sin(turn) * across + math.cos(turn) * down - 0.5
            left, top = math.floor(x), math.floor(y)
            for i, j in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                if 0 <= i < SCENE_PX and 0 <= j < SCENE_PX:
                    cut[row, column] += (1 - abs(y - i)) * (1 - abs(x - j)) * image[i, j]
    return cut


def test_the_oracle_sees_the_object_cut_out_by_hand(posed: Workbench, scenes: tuple[Path, dict[str, Box]]) -> None:
    root, boxes = scenes
    files = {Image.open(root / "images" / file).tobytes(): file for file in boxes if file.startswith("val/")}
    val_I = posed.dataset.val_I[::20]
    (batch,) = posed.eval_batches(val_I, posed.view)
    shown_BHWC = posed.undo(batch).permute(0, 2, 3, 1).numpy()
    for index, shown_HWC in zip(val_I.tolist(), shown_BHWC, strict=True):
        image_HWC = posed.dataset.images_NHWC[index]
        cut_HWC = by_hand(image_HWC, boxes[files[image_HWC.numpy().tobytes()]])
        np.testing.assert_allclose(shown_HWC, cut_HWC, atol=2e-4)


def test_recover_finds_the_objects(posed: Workbench) -> None:
    localizer = build_localizer(posed, ARCH)
    _, identity_px = alignment(posed, localizer)
    localizer, recovery = recover(posed, localizer)
    assert recovery.corner_error_px < identity_px / 2
    assert (recovery.alignment_mse, recovery.corner_error_px) == alignment(posed, localizer)


def test_a_trial_is_quoted_between_control_and_oracle(posed: Workbench, posed_warm: Warm) -> None:
    assert posed.frozen_view is None and posed.task.has_oracle
    result, _ = run_trial(posed, ARCH, posed_warm)
    control, _ = run_trial(posed, None, posed_warm)
    oracle, _ = run_trial(posed, None, posed_warm, oracle=True)
    assert result.status == "ok"
    assert control.frozen_top1 is not None and result.frozen_top1 is not None and oracle.frozen_top1 is not None
    assert control.frozen_top1 + 10 < result.frozen_top1 < oracle.frozen_top1 + 5  # four images
    assert oracle.frozen_top1 == posed_warm.val_clean.top1  # the classifier was trained on what the oracle sees
    assert [getattr(result, f"frozen_{fill}") for fill in SCORED_FILLS] == [None] * 4  # nothing was drawn outside


def test_the_warm_classifier_is_trained_on_objects_cut_out(
    make_posed: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_posed(warm_epochs=1)
    seen: list[torch.Tensor] = []
    build = bench.build_backbone

    def listening() -> nn.Module:
        backbone = build()
        backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
        return backbone

    monkeypatch.setattr(bench, "build_backbone", listening)
    warm_backbone(bench, tmp_path)
    for x_BCHW, batch in zip(seen, bench.train_batches("warm", 1, None, posed=True), strict=False):
        assert torch.equal(x_BCHW, bench.undo(batch))
        assert not torch.equal(x_BCHW, batch.x_BCHW)


@pytest.mark.parametrize("partly", [{"pose_share": 0.5}, {"poses": "half"}])
def test_an_image_without_a_pose_is_never_recovered(
    partly: dict[str, Any],
    make_posed: Make,
    scenes: tuple[Path, dict[str, Box]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if partly.get("poses"):
        known = {file: box for file, box in scenes[1].items() if int(Path(file).stem) % 2}
        partly = {"poses": str(write_boxes(tmp_path / "half.csv", known))}
    bench = make_posed(recover_steps=6, **partly)
    seen: set[int] = set()
    plain = Workbench._batch

    def batch(self: Workbench, indices_B: torch.Tensor, *rest: Any, **options: Any) -> Any:
        seen.update(indices_B.tolist())
        return plain(self, indices_B, *rest, **options)

    monkeypatch.setattr(Workbench, "_batch", batch)
    _, recovery = recover(bench, build_localizer(bench, ARCH))
    posed_N = bench.dataset.posed_N
    assert math.isfinite(recovery.alignment_mse)
    assert seen and all(posed_N[index] for index in seen)
    assert len(bench.posed_train_I) == NUM["train"] * 6 // 2 < len(bench.dataset.train_I)
    assert next(bench.train_batches("joint", 1, None)).x_BCHW.isfinite().all()  # joint training uses all of them
    assert set(bench.dataset.train_I.tolist()) - seen


def test_images_without_a_pose_are_placed_by_what_was_learned_from_the_others(
    make_posed: Make, posed: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poses that were left out are known here: what is found is nearer to them than what is always said of all."""
    bench, again = (make_posed(pose_share=0.5) for _ in range(2))
    before = bench.fingerprint
    missing_I, known_I = bench.unposed_train_I, bench.posed_train_I
    complete_poses(bench, tmp_path, lambda stage: None)
    assert len(bench.posed_train_I) == len(bench.dataset.train_I)
    assert bench.fingerprint != before  # classifier and references start anew
    (batch,) = bench.eval_batches(missing_I, None)
    truth_I23, known_I23 = posed.dataset.pose_N23[missing_I], posed.dataset.pose_N23[known_I]
    assert batch.target_B23 is not None
    found_px = corner_error_px(batch.target_B23, truth_I23, SCENE_PX).mean()
    mean_px = corner_error_px(known_I23.mean(dim=0).expand_as(truth_I23), truth_I23, SCENE_PX).mean()
    assert found_px < mean_px / 2
    (kept,) = bench.eval_batches(known_I, None)
    assert kept.target_B23 is not None and torch.equal(kept.target_B23, known_I23)

    monkeypatch.setattr(RecoverTraining, "run_to", lambda *args: pytest.fail("trained again"))
    complete_poses(again, tmp_path, lambda stage: None)
    assert again.fingerprint == bench.fingerprint
    (once_more,) = again.eval_batches(missing_I, None)
    assert once_more.target_B23 is not None and torch.equal(once_more.target_B23, batch.target_B23)
    complete_poses(posed, tmp_path, lambda stage: None)  # there is nothing to find


def test_a_placing_that_diverges_is_one_line_with_a_cure(make_posed: Make, tmp_path: Path) -> None:
    bench = make_posed(pose_share=0.5, recover_lr=1e30)
    with pytest.raises(
        SettingError, match=r"places images without a pose diverged \(.+\); .+ a recover_lr below 1e\+30"
    ):
        complete_poses(bench, tmp_path, lambda stage: None)
    assert not list((tmp_path / "poses").glob("*.json"))


def test_what_is_kept_is_found_by_the_poses_and_not_by_their_file(
    make_posed: Make, posed: Workbench, scenes: tuple[Path, dict[str, Box]], tmp_path: Path
) -> None:
    same = make_posed(poses=str(write_boxes(tmp_path / "same.csv", scenes[1])))
    first, (x1, y1, x2, y2, degrees) = next(iter(scenes[1].items()))
    moved = make_posed(
        poses=str(write_boxes(tmp_path / "moved.csv", scenes[1] | {first: (x1, y1, x2, y2, degrees + 1)}))
    )
    keys = [(warm_key(bench), reference_key(bench, None)) for bench in (posed, same, moved, make_posed(poses=None))]
    assert keys[0] == keys[1]
    for of_kind in zip(*keys[1:], strict=True):
        assert len(set(of_kind)) == 3


# -- frame readers -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, small_cache: Path) -> tuple[Prepared, TrialResult]:
    """Images that say nothing about how they were warped, but for where they end, and what learns from them."""
    root, rng = tmp_path_factory.mktemp("noise"), np.random.RandomState(0)
    for part, count in (("train", 60), ("val", 40), ("test", 10)):
        for label in range(4):
            (root / part / f"{label}").mkdir(parents=True)
            for number in range(count):
                Image.fromarray(patterned(label, rng)).save(root / part / f"{label}" / f"{number}.png")
    bench = Workbench(
        small_task(root, fill="zeros", view_strength=1.0, recover_steps=300), cache_dir=small_cache, progress=False
    )
    prepared = Prepared(bench, warm_backbone(bench, small_cache))
    return prepared, start_trial(prepared, ARCH).begin()


def patterned(label: int, rng: np.random.RandomState) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A bright blob in one of four quarters, among noise: nothing else tells up from down."""
    image = rng.randint(190, 256, (24, 24, 3))
    row, column = (12 * (label // 2), 12 * (label % 2))
    image[row + 2 : row + 10, column + 2 : column + 10] -= 180
    return image.astype(np.uint8)


def test_what_reads_where_the_picture_ends_is_named(planted: tuple[Prepared, TrialResult]) -> None:
    prepared, result = planted
    bench, control = prepared.bench, prepared.frozen_by_fill(None)
    assert prepared.warm is not None
    model = TransformedClassifier(None, prepared.warm.backbone(bench))
    without, _ = bench.evaluate(model, bench.dataset.val_I, view=bench.frozen_view)
    assert result.frozen_top1 is not None and result.frozen_top1 > without.top1 + 10  # under grey it looks alive
    by_fill = {fill: getattr(result, f"frozen_{fill}") for fill in SCORED_FILLS}
    assert any(by_fill[fill] <= control[fill] for fill in SCORED_FILLS)
    assert result.status == "frame reader"
    assert result.spread is not None and result.spread > 0.02


def test_the_control_is_scored_under_the_fills_once(
    planted: tuple[Prepared, TrialResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = Prepared(planted[0].bench, planted[0].warm)
    asked: list[str | None] = []
    plain = Workbench.evaluate

    def evaluate(self: Workbench, *args: Any, fill: str | None = None, **options: Any) -> Any:
        asked.append(fill)
        return plain(self, *args, fill=fill, **options)

    monkeypatch.setattr(Workbench, "evaluate", evaluate)
    first = prepared.frozen_by_fill(None)
    assert asked == list(SCORED_FILLS)
    assert prepared.frozen_by_fill(None) == first == planted[0].frozen_by_fill(None)
    localizer = build_localizer(prepared.bench, ARCH)  # the identity: no better than none, to the last image
    assert prepared.frozen_by_fill(localizer) == first
    assert len(asked) == 2 * len(SCORED_FILLS)


@pytest.mark.parametrize("is_seed", [True, False])
def test_it_never_stands_on_the_front(
    planted: tuple[Prepared, TrialResult], small_space: Space, tmp_path: Path, is_seed: bool
) -> None:
    first = planted[1]
    later = TrialResult(status="ok", epochs=1, val_top1=99.0, spread=0.5)
    settings = make_settings(small_space)
    candidate = make_candidate(settings, 0, "planted", small_space.seeds["good"], is_seed=is_seed)
    alive = [dataclasses.replace(first, status="ok"), later]
    run = Run(
        folder=make_folder(tmp_path / "run", settings), entries=[Entry(candidate=candidate, results=[first, later])]
    )
    assert run.front == [] and run.best is None
    assert run.entries[0].status == "frame reader"
    run.entries[0].results = alive
    assert run.front == run.entries
