"""What a trial needs that does not depend on its architecture: data on its device, views, batches, precision.

Common random numbers: the order of the images and the warps drawn for them depend on the task's seed, the stage and the
epoch, never on the architecture. Two trials of one task see the same batches.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from lstn_search.data import Dataset, load_dataset
from lstn_search.data.cache import default_cache_dir
from lstn_search.data.fills import DrawnFills, Fills, draw_fills, fill_for_scoring
from lstn_search.data.views import View, resample
from lstn_search.errors import SettingError
from lstn_search.nets.transformer import TransformedClassifier, warp
from lstn_search.nets.warps import compose, invert
from lstn_search.spec.own_code import load_code, module_of, source_digest
from lstn_search.spec.seeding import seed_of
from lstn_search.spec.task import Task
from lstn_search.training.classifier import Classifier, Start

__all__ = ["Batch", "Scores", "Workbench", "pick_device", "seeded"]

EVAL_BATCH_SIZE = 256
_log = logging.getLogger(__name__)

POSED_STRENGTH = 0.3
"""Of the view that is drawn on top of poses: the images bring their own variety."""


class Batch(NamedTuple):
    """Images as the model sees them, their classes, and the warps drawn for them."""

    x_BCHW: torch.Tensor
    """Normalised, channels_last, warped where the stage has a view."""
    labels_B: torch.Tensor
    target_B23: torch.Tensor | None
    """What a perfect localizer says: undo the drawn warp and cut the object out by its pose. None: there is neither
    view nor pose; NaN: this image's pose is not known."""
    drawn_B23: torch.Tensor | None
    """The drawn warp alone; None without a view."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Scores:
    """Accuracy in percent over `num` images."""

    top1: float
    top5: float
    num: int


class Workbench:
    """A task made ready on this machine: decoded data, device, views and precision."""

    def __init__(self, task: Task, *, cache_dir: Path | None = None, progress: bool = True) -> None:
        self.task = task
        self.device = pick_device(task.device)
        self.view = View.named(task.view, task.view_strength)
        self.is_posed = task.poses is not None
        self.recover_view = self.view or (View.named("affine", POSED_STRENGTH) if self.is_posed else View())
        """What is drawn while the localizer recovers; on posed images a little on top of their own place and angle."""
        self.frozen_view = None if self.is_posed and self.view is None else self.recover_view
        """What the recovered localizer is measured under: with poses and without a view, the images as they are."""
        augment = None if task.augment is None else load_code(task.augment, "augmentation")
        dataset = load_dataset(
            task.dataset,
            image_size=task.trial_size,
            data_dir=Path(task.data_dir) if task.data_dir else None,
            split_seed=task.split_seed,
            cache_dir=cache_dir,
            progress=progress,
            poses=task.poses,
            pose_share=task.pose_share,
        )
        self.classifier = Classifier(task, dataset.num_classes, cache_dir or default_cache_dir())
        self.dataset: Dataset = _as_wanted(dataset, self.classifier)
        self._augment = augment
        self.code = {"backbone": self.classifier.digest, "augment": _digest(task.augment)}
        """What tells users' own code and weights apart, by the setting that names them; empty where there are none."""
        if len(self.dataset.train_I) < task.batch_size:
            raise SettingError(
                f"batch size {task.batch_size} is larger than the training set ({len(self.dataset.train_I)} images); "
                "choose a smaller --batch-size"
            )
        is_posed_I = self.dataset.posed_N[self.dataset.train_I]
        self.posed_train_I, self.unposed_train_I = self.dataset.train_I[is_posed_I], self.dataset.train_I[~is_posed_I]
        """Training images whose pose is known, or was found by `add_poses`: all of them in upright data."""
        self._pose_N23, self._added = self.dataset.pose_N23, ""
        if len(self.posed_train_I) < task.batch_size:
            raise SettingError(
                f"{len(self.posed_train_I)} training images have a pose, fewer than a batch of {task.batch_size}; add "
                "poses, or choose a smaller --batch-size"
            )
        mean_C, std_C = (255 * torch.tensor(of_C, device=self.device) for of_C in (self.dataset.mean, self.dataset.std))
        self._mean_WC, self._std_WC = mean_C.repeat(task.trial_size), std_C.repeat(task.trial_size)
        self.use_autocast = task.precision == "bf16"

    # -- batches -------------------------------------------------------------------------------------------------

    @property
    def fingerprint(self) -> str:
        """Of images, split and poses: what a result depends on of the data."""
        return ":".join(filter(None, (self.dataset.fingerprint, self.dataset.poses_fingerprint, self._added)))

    def add_poses(self, indices_I: torch.Tensor, pose_I23: torch.Tensor, name: str = "") -> None:
        """Where the objects of these training images were found; `name` says how, and is part of the fingerprint."""
        self._pose_N23, self._added = self.dataset.pose_N23.clone(), name
        self._pose_N23[indices_I] = pose_I23
        self.posed_train_I = self.dataset.train_I[self._pose_N23[self.dataset.train_I].isfinite().all(dim=(1, 2))]

    @property
    def code_in_keys(self) -> dict[str, dict[str, str]]:
        """Users' own code and weights as an extra part of a key; nothing where there are none."""
        return {"code": self.code} if any(self.code.values()) else {}

    @property
    def batches_per_epoch(self) -> int:
        """Full training batches; the remainder of an epoch is left out so that BN never sees a tiny batch."""
        return len(self.dataset.train_I) // self.task.batch_size

    def train_batches(
        self, stage: str, epoch: int, view: View | None, *, posed: bool = False, cut_out: bool = False, skip: int = 0
    ) -> Iterator[Batch]:
        """One epoch of shuffled training batches, the same for every trial of the task.

        `posed`: only images whose pose is known. `cut_out`: these, cut out upright by their poses. Those of the first
        `skip` are not made.
        """
        generator = seeded(self.task.seed, stage, epoch)
        of_fills = seeded(self.task.seed, stage, epoch, "fills")
        chosen_I = self.posed_train_I if posed or cut_out else self.dataset.train_I
        order_I = chosen_I[torch.randperm(len(chosen_I), generator=generator)]
        size = self.task.batch_size
        for first in range(0, len(chosen_I) - size + 1, size):
            drawn_B23 = view.draw(size, generator) if view else None
            fills = draw_fills(self.task.fill, size, of_fills)
            if first < skip * size:
                continue
            augment_seed = seed_of(self.task.seed, stage, epoch, "augment", first) if self._augment else None
            batch = self._batch(order_I[first : first + size], drawn_B23, fills, augment_seed=augment_seed)
            yield batch._replace(x_BCHW=self.undo(batch)) if cut_out else batch

    def eval_batches(
        self, indices_I: torch.Tensor, view: View | None, *, fill: str | None = None, draw: int = 0
    ) -> Iterator[Batch]:
        """These images in order; a view and what it shows outside are one fixed draw, the same for every task seed.

        `fill` is what accuracy is quoted under, or another one to tell whether it matters; `draw` is the number of
        another draw of the view.
        """
        fill = fill or fill_for_scoring(self.task.fill)
        drawn_N23 = (
            view.draw(len(indices_I), seeded(self.task.split_seed, "evaluation view", *([draw] if draw else [])))
            if view
            else None
        )
        partner_I = indices_I[torch.randperm(len(indices_I), generator=seeded(self.task.split_seed, "partners"))]
        of_fills = seeded(self.task.split_seed, "evaluation fills")
        for first in range(0, len(indices_I), EVAL_BATCH_SIZE):
            part = slice(first, first + EVAL_BATCH_SIZE)
            fills = draw_fills(fill, len(indices_I[part]), of_fills)
            drawn_B23 = None if drawn_N23 is None else drawn_N23[part]
            yield self._batch(indices_I[part], drawn_B23, fills, partner_I[part])

    def undo(self, batch: Batch) -> torch.Tensor:
        """The images of a batch as the oracle sees them: warped back, cut out; as they are where nothing is known."""
        if batch.target_B23 is None:
            return batch.x_BCHW
        upright_23 = torch.eye(2, 3, device=batch.target_B23.device)
        target_B23 = batch.target_B23.where(batch.target_B23.isfinite(), upright_23)
        return warp(batch.x_BCHW, target_B23).contiguous(memory_format=torch.channels_last)

    def _batch(
        self,
        indices_B: torch.Tensor,
        drawn_B23: torch.Tensor | None,
        fills: DrawnFills,
        partner_I: torch.Tensor | None = None,
        *,
        augment_seed: int | None = None,
    ) -> Batch:
        x_BCHW = self._images(indices_B, augment_seed)
        labels_B = self._send(self.dataset.labels_N[indices_B])
        target_B23 = self._send(self._pose_N23[indices_B]) if self.is_posed else None
        if drawn_B23 is not None:
            drawn_B23 = self._send(drawn_B23)
            partner_BCHW = None
            if "picture" in fills.kinds:  # in training another one of the batch; in evaluation, sorted by class, any
                here_B = self._send(fills.partner_B)
                partner_BCHW = x_BCHW[here_B] if partner_I is None else self._images(partner_I)
            colour_BC = (255 * self._send(fills.colour_BC) - self._mean_WC[:3]) / self._std_WC[:3]
            x_BCHW = resample(x_BCHW, drawn_B23, Fills(fills.kinds, partner_BCHW, colour_BC[:, :, None, None]))
            back_B23 = invert(drawn_B23)
            target_B23 = back_B23 if target_B23 is None else compose(back_B23, target_B23)
        return Batch(x_BCHW.contiguous(memory_format=torch.channels_last), labels_B, target_B23, drawn_B23)

    def _images(self, indices_B: torch.Tensor, augment_seed: int | None = None) -> torch.Tensor:
        """B x C x H x W, normalised, as a view of channels last; with a seed after the user's own augmentation."""
        raw_BHWC = self.dataset.images_NHWC.index_select(0, indices_B)
        if augment_seed is not None:
            raw_BHWC = self._augmented(raw_BHWC, augment_seed)
        raw_BHWC = self._send(raw_BHWC)
        rows_BHX = raw_BHWC.flatten(2).float().sub_(self._mean_WC).div_(self._std_WC)  # by rows: 3 times as fast
        return rows_BHX.view(raw_BHWC.shape).permute(0, 3, 1, 2)

    def _augmented(self, raw_BHWC: torch.Tensor, seed: int) -> torch.Tensor:
        """What the user's augmentation makes of uint8 images, on the CPU, under torch's own generator."""
        assert self._augment is not None
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            try:
                made = self._augment(raw_BHWC.permute(0, 3, 1, 2))
            except Exception as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise SettingError(
                    f"augmentation {self.task.augment!r} fails ({reason}); it takes a batch of uint8 images, "
                    "B x 3 x H x W"
                ) from error
        batch, height, width, channels = raw_BHWC.shape
        wanted = (batch, channels, height, width)
        if not isinstance(made, torch.Tensor) or tuple(made.shape) != wanted or made.dtype != torch.uint8:
            found = f"{made.dtype} {tuple(made.shape)}" if isinstance(made, torch.Tensor) else type(made).__name__
            raise SettingError(
                f"augmentation {self.task.augment!r} makes {found} of torch.uint8 {wanted}; return what it was given, "
                "changed"
            )
        return made.permute(0, 2, 3, 1).contiguous()

    def _send(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor on the device; the copy to a CUDA device goes on while the host works."""
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    @property
    def settled_task(self) -> Task:
        """The task with the precision it is trained in, whatever is faster on another machine."""
        return dataclasses.replace(self.task, precision="bf16" if self.use_autocast else "fp32")

    # -- models --------------------------------------------------------------------------------------------------

    def build_backbone(self) -> nn.Module:
        """A fresh backbone, the same for every call: its weights depend on the task's seed alone."""
        torch.manual_seed(seed_of(self.task.seed, "backbone"))
        return self.place(self.classifier.build())

    def start_backbone(self) -> tuple[nn.Module, Start]:
        """The backbone with the weights that it starts from; equal for equal tasks, too."""
        torch.manual_seed(seed_of(self.task.seed, "backbone"))
        backbone, start = self.classifier.start()
        return self.place(backbone), start

    def place(self, module: nn.Module) -> nn.Module:
        """The module on the task's device, in channels_last."""
        return module.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def autocast(self) -> AbstractContextManager[object]:
        """bfloat16 where it was measured to be faster, float32 elsewhere."""
        if not self.use_autocast:
            return contextlib.nullcontext()
        return torch.autocast(device_type=self.device.type, dtype=torch.bfloat16)

    @torch.no_grad()
    def evaluate(
        self,
        model: TransformedClassifier,
        indices_I: torch.Tensor,
        *,
        view: View | None,
        undo: bool = False,
        fill: str | None = None,
    ) -> tuple[Scores, torch.Tensor | None]:
        """Accuracy of `model` on these images and its theta_N23 (None without a transformer).

        `undo` shows it what the oracle sees. `fill` is another one than accuracy is quoted under.
        """
        model.eval()
        num_top1 = num_top5 = 0
        thetas = []
        for batch in self.eval_batches(indices_I, view, fill=fill):
            x_BCHW, labels_B = self.undo(batch) if undo else batch.x_BCHW, batch.labels_B
            with self.autocast():
                logits_BK, theta_B23 = model(x_BCHW)
            ranked_B5 = logits_BK.float().topk(min(5, logits_BK.shape[1]), dim=1).indices
            hits_B5 = ranked_B5 == labels_B[:, None]
            num_top1 += int(hits_B5[:, 0].sum())
            num_top5 += int(hits_B5.any(dim=1).sum())
            if theta_B23 is not None:
                thetas.append(theta_B23.cpu())
        num = len(indices_I)
        scores = Scores(top1=100 * num_top1 / num, top5=100 * num_top5 / num, num=num)
        return scores, torch.cat(thetas) if thetas else None


def _as_wanted(dataset: Dataset, classifier: Classifier) -> Dataset:
    """The data set with the normalisation that the classifier wants, and what is to be said of its weights."""
    note = classifier.note
    if note:
        _log.warning(note)
    mean, std = classifier.normalisation
    return dataclasses.replace(dataset, mean=mean, std=std, notes=(*dataset.notes, *[note] * bool(note)))


def _digest(augment: str | None) -> str:
    return "" if augment is None else source_digest([module_of(augment)], augment)


def seeded(seed: int, *labels: object) -> torch.Generator:
    """A CPU generator for one use, independent of all other uses."""
    return torch.Generator().manual_seed(seed_of(seed, *labels))


def pick_device(name: str) -> torch.device:
    """The device called `name`; "auto" takes CUDA, else MPS, else the CPU. Raises SettingError when it is not here."""
    if name == "auto":
        accelerators = [("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())]
        name = next((accelerator for accelerator, is_here in accelerators if is_here), "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):
        raise SettingError(f"device {name!r} is not available here; use --device auto or cpu") from None
    return device
