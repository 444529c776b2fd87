"""Before and after the warp: what a trained localizer does to images, and what the classifier then says.

`before_after_info` collects the facts, `film_info` the facts of a training from its start to its end;
`before_after_drawing` draws both. Where the trained parts come from: `lstn_search.pictures.trained`.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from lstn_search.data.dataset import Dataset
from lstn_search.data.files import decode_files
from lstn_search.data.fills import Fills, fill_for_scoring
from lstn_search.data.views import View, resample
from lstn_search.data.walk import Tree, is_folder
from lstn_search.errors import CheckpointError, DataError, SettingError
from lstn_search.nets.transformer import warp
from lstn_search.pictures.before_after_drawing import check_suffix, draw_picture, write_film, write_picture
from lstn_search.pictures.sightings import BeforeAfterInfo, Guess, Pixels, ShownImage, Sighting
from lstn_search.pictures.trained import Snapshot, Trained, trained_of_run
from lstn_search.spec.fields import check_count
from lstn_search.spec.task import Task
from lstn_search.training.workbench import seeded

if TYPE_CHECKING:
    from lstn_search.runs.entries import Entry
    from lstn_search.runs.run import Run

__all__ = [
    "Pictures",
    "before_after_info",
    "check_film",
    "draw_before_after",
    "draw_trained",
    "film_info",
    "pick_pictures",
    "read_pictures",
]

OUTPUT_CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
"""Of the output square, from the upper left clockwise."""
STEPS_BETWEEN = 6
"""Pictures from one snapshot of a training to the next."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True, eq=False)
class Pictures:
    """Upright images of one size, before any view is drawn."""

    names: tuple[str, ...]
    images_NHWC: torch.Tensor
    """uint8"""
    labels_N: torch.Tensor | None
    """None where the classes are not known."""


def pick_pictures(dataset: Dataset, num_images: int, *, seed: int = 0) -> Pictures:
    """Validation images at random, no two of a class while there are classes left; equal seeds give equal images."""
    val_I = dataset.val_I
    order_I = val_I[torch.randperm(len(val_I), generator=seeded(seed, "shown images"))]
    labels = dataset.labels_N[order_I].tolist()
    seen: Counter[int] = Counter()
    turns = []
    for label in labels:  # the first of each class come first, then the second of each, ...
        turns.append(seen[label])
        seen[label] += 1
    chosen_I = order_I[sorted(range(len(labels)), key=turns.__getitem__)[:num_images]]
    labels_N = dataset.labels_N[chosen_I]
    return Pictures(
        names=tuple(dataset.class_names[label] for label in labels_N.tolist()),
        images_NHWC=dataset.images_NHWC[chosen_I],
        labels_N=labels_N,
    )


def read_pictures(folder: Path, image_size: int, num_images: int) -> Pictures:
    """The image files below `folder`, the first `num_images` by name, resized to `image_size` squared.

    Raises DataError when there is none, or one is damaged.
    """
    names = Tree(folder).files()[:num_images] if is_folder(folder) else []
    if not names:
        raise DataError(f"{folder} holds no image file; give a folder of them to --images")
    rows = []
    for name, row in zip(names, decode_files(folder, names, image_size=image_size), strict=True):
        if isinstance(row, str):
            raise DataError(f"{folder / name} is damaged ({row}); remove it")
        rows.append(row)
    return Pictures(names=tuple(names), images_NHWC=torch.from_numpy(np.stack(rows)), labels_N=None)


def before_after_info(
    trained: Trained, dataset: Dataset, pictures: Pictures, *, num_views: int = 3, seed: int = 0
) -> BeforeAfterInfo:
    """What the trained parts do to each picture as it is, and under `num_views` warps of its task's view.

    A task without a view was trained on upright images, so then the pictures are shown as they are and not otherwise.
    """
    stage = _Stage(trained, dataset, pictures, num_views=num_views, seed=seed)
    return stage.info(trained.localizer(stage.x_BCHW))


def check_film(task: Task) -> None:
    """Raises SettingError when trainings of the task leave no snapshots to make a film of."""
    if task.protocol == "paper":
        raise SettingError(
            "the paper's training leaves no snapshots for a film; draw a .png, or use --protocol recover"
        )


def film_info(
    trained: Trained, dataset: Dataset, pictures: Pictures, *, num_views: int = 2, seed: int = 0
) -> tuple[BeforeAfterInfo, ...]:
    """The same pictures from the untrained localizer (the identity) through its snapshots to the last one.

    Between snapshots theta goes in straight lines, STEPS_BETWEEN pictures each. The classifier is the one that stood at
    the end of the training, throughout. Raises CheckpointError when the training left no snapshots, SettingError when
    it never does.
    """
    check_film(trained.task)
    if not trained.snapshots:
        raise CheckpointError(
            f"{trained.source} holds no snapshots of the training of {trained.name}; train it again with: "
            f"show --arch {trained.retrain} --animate"
        )
    stage = _Stage(trained, dataset, pictures, num_views=num_views, seed=seed)
    num = len(stage.x_BCHW)
    before_B23 = torch.eye(2, 3).expand(num, 2, 3)
    film = [stage.info(before_B23, caption="untrained: the identity")]
    for snapshot in trained.snapshots:
        after_B23 = trained.localizer_at(snapshot)(stage.x_BCHW)
        for step in range(1, STEPS_BETWEEN + 1):
            theta_B23 = torch.lerp(before_B23, after_B23, step / STEPS_BETWEEN)
            film.append(stage.info(theta_B23, caption=_caption(snapshot, between=step < STEPS_BETWEEN)))
        before_B23 = after_B23
    return tuple(film)


def draw_trained(
    trained: Trained,
    file: Path,
    *,
    images: Path | None = None,
    num_images: int | None = None,
    num_views: int = 3,
    seed: int = 0,
    animate: bool = False,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
) -> BeforeAfterInfo:
    """Draw a picture (.png, .webp, .jpg), or a film of the training (.gif, .webp) with `animate`; a .gif always is one.

    Shown are `num_images` validation images (6, in a film 3) or the first so many below `images`, each as it is and
    under `num_views` warps. `data_dir` says where the dataset lies now, `cache_dir` where its decoded images are kept.

    Returns the facts of the picture, or of the film's end. Raises SettingError on a name or number that makes no sense,
    DataError when the images are not there, CheckpointError when weights or snapshots are not, OSError when the file
    cannot be written.
    """
    animate = animate or file.suffix.lower() == ".gif"
    check_suffix(file, film=animate)
    if num_images is None:
        num_images = 3 if animate else 6
    check_count("the number of images", num_images, limit=100)
    trained = dataclasses.replace(trained, cache_dir=trained.cache_dir or cache_dir)
    dataset = trained.load_dataset(data_dir=data_dir, cache_dir=cache_dir)
    pictures = (
        pick_pictures(dataset, num_images, seed=seed)
        if images is None
        else read_pictures(images, trained.task.trial_size, num_images)
    )
    if animate:
        film = film_info(trained, dataset, pictures, num_views=num_views, seed=seed)
        write_film(film, file)
        return film[-1]
    info = before_after_info(trained, dataset, pictures, num_views=num_views, seed=seed)
    write_picture(draw_picture(info), file)
    return info


def draw_before_after(run: "Run", entry: "Entry", file: Path, *, num_images: int = 6) -> None:
    """Draw what an entry's trained localizer does to validation images into `file` (.png, .webp, .jpg).

    Raises CheckpointError when the run keeps no trained weights of it, DataError when the images are not there, OSError
    when the file cannot be written.
    """
    draw_trained(trained_of_run(run, entry), file, num_images=num_images)


class _Stage:
    """Pictures under their views, as a batch, and the classifier they are shown to."""

    @torch.no_grad()
    def __init__(self, trained: Trained, dataset: Dataset, pictures: Pictures, *, num_views: int, seed: int) -> None:
        check_count("the number of views", num_views, minimum=0, limit=30)
        task = trained.task
        self.title, self.names, self.class_names = trained.title, pictures.names, dataset.class_names
        self.classifier: nn.Module = trained.build_classifier(dataset.num_classes)
        self.mean_C11, self.std_C11 = (torch.tensor(v).view(-1, 1, 1) for v in (dataset.mean, dataset.std))
        view = View.named(task.view, task.view_strength)
        num_drawn = num_views if view else 0
        self.views = ("as it is", *(f"view {number}" for number in range(1, num_drawn + 1)))
        num = len(pictures.names)
        upright_NCHW = (pictures.images_NHWC.permute(0, 3, 1, 2) / 255 - self.mean_C11) / self.std_C11
        columns = [upright_NCHW]
        if view:
            drawn_NV23 = view.draw(num * num_drawn, seeded(seed, "shown views")).view(num, num_drawn, 2, 3)
            outside = Fills((fill_for_scoring(task.fill),) * num)  # what is shown is what is scored
            columns += [resample(upright_NCHW, drawn_NV23[:, number], outside) for number in range(num_drawn)]
        self.x_BCHW = torch.stack(columns, dim=1).flatten(0, 1).contiguous()
        """Image by image, all views of one after the other."""
        self.labels_B = None
        if pictures.labels_N is not None:
            self.labels_B = pictures.labels_N.repeat_interleave(len(self.views))
        self.inputs = self._pixels(self.x_BCHW)
        self.without = self._guess(self.x_BCHW)

    @torch.no_grad()
    def info(self, theta_B23: torch.Tensor, caption: str = "") -> BeforeAfterInfo:
        """The facts when the localizer says `theta_B23`."""
        output_BCHW = warp(self.x_BCHW, theta_B23)
        outputs, guesses = self._pixels(output_BCHW), self._guess(output_BCHW)
        corners_34 = torch.tensor([(*corner, 1.0) for corner in OUTPUT_CORNERS]).T
        frames_B42 = (theta_B23.double() @ corners_34.double()).transpose(1, 2).tolist()
        sightings = [
            Sighting(
                input_HWC=before, output_HWC=after, frame=tuple((x, y) for x, y in frame), without=without, guess=guess
            )
            for before, after, frame, without, guess in zip(
                self.inputs, outputs, frames_B42, self.without, guesses, strict=True
            )
        ]
        num = len(self.views)
        images = tuple(
            ShownImage(name=name, sightings=tuple(sightings[num * position : num * (position + 1)]))
            for position, name in enumerate(self.names)
        )
        return BeforeAfterInfo(title=self.title, caption=caption, views=self.views, images=images)

    def _pixels(self, x_BCHW: torch.Tensor) -> list[Pixels]:
        raw_BCHW = ((x_BCHW * self.std_C11 + self.mean_C11) * 255).round().clamp(0, 255).to(torch.uint8)
        return list(raw_BCHW.permute(0, 2, 3, 1).contiguous().numpy())

    def _guess(self, x_BCHW: torch.Tensor) -> list[Guess]:
        likely_B, chosen_B = self.classifier(x_BCHW).softmax(dim=1).max(dim=1)
        right: Iterable[Any] = [None] * len(x_BCHW)
        if self.labels_B is not None:
            right = (chosen_B == self.labels_B).tolist()
        return [
            Guess(label=self.class_names[chosen], probability=likely, is_right=is_right)
            for chosen, likely, is_right in zip(chosen_B.tolist(), likely_B.tolist(), right, strict=True)
        ]


def _caption(snapshot: Snapshot, *, between: bool) -> str:
    if between:
        return f"{snapshot.stage}, towards {snapshot.unit} {snapshot.at:,}"
    return f"{snapshot.stage}, after {snapshot.at:,} {snapshot.unit}{'' if snapshot.at == 1 else 's'}"
