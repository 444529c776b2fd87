"""Where the trained parts of a picture come from: a run, a folder that `eval` wrote, or a training made for it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lstn_search.data import Dataset, load_dataset
from lstn_search.data.cache import default_cache_dir
from lstn_search.errors import CheckpointError, DataError, LstnError, SettingError
from lstn_search.nets.backbones import build_backbone
from lstn_search.nets.brought import Channels
from lstn_search.nets.localizer import Localizer
from lstn_search.nets.weights import fill, load_torch
from lstn_search.runs.checkpoints import load_checkpoint, load_localizer, split_trained
from lstn_search.runs.folder import checkpoint_file
from lstn_search.spec.arch import Arch
from lstn_search.spec.names import checked_label
from lstn_search.spec.reading import read_as, read_json
from lstn_search.spec.task import Task
from lstn_search.training.evaluation import Evaluation
from lstn_search.training.prepared import Prepared
from lstn_search.training.trial import start_trial

if TYPE_CHECKING:
    from lstn_search.runs.entries import Entry
    from lstn_search.runs.run import Run

__all__ = ["Snapshot", "Trained", "train_for_show", "trained_of_evaluation", "trained_of_run"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True, eq=False)
class Snapshot:
    """The localizer somewhere in its training."""

    stage: str
    """recover or joint"""
    at: int
    """Recover steps or joint epochs done."""
    localizer: Mapping[str, torch.Tensor]
    """Its state dict, in half precision."""

    @property
    def unit(self) -> str:
        """What `at` counts."""
        return "step" if self.stage == "recover" else "epoch"


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True, eq=False)
class Trained:
    """A localizer and the classifier that was trained behind it, on the CPU."""

    name: str
    source: str
    """Where it was read from: a run and a trial, or a folder; empty: trained for the picture."""
    task: Task
    localizer: Localizer
    """In eval mode, at the task's trial size."""
    classifier: Mapping[str, torch.Tensor]
    """State dict."""
    val_top1: float | None
    """On all validation images under the task's view, in percent."""
    snapshots: tuple[Snapshot, ...] = ()
    """In the order of training; the last one is the end of it."""
    retrain: str = ""
    """What follows `--arch` to train it again."""
    fingerprint: str | None = None
    """Of the dataset it was trained on, where it was written down."""
    normalisation: tuple[Channels, Channels] | None = None
    """Mean and deviation of pixels that the classifier was trained with; None: those of the dataset."""
    cache_dir: Path | None = None
    """Where a classifier that was saved from Python lies; None: in the user's cache."""

    @property
    def title(self) -> str:
        """One line for a picture: what was trained on what, and how good it is."""
        task = self.task
        view = "" if task.view == "none" else f" under the {task.view} view"
        scored = "" if self.val_top1 is None else f"; validation top-1{view} {self.val_top1:.1f} %"
        return f"{self.name} on {task.dataset}, classifier {task.backbone}, {task.trial_size} px{scored}"

    def load_dataset(self, *, data_dir: Path | None = None, cache_dir: Path | None = None) -> Dataset:
        """The task's images; `data_dir` says where they lie now. Raises DataError when they are not there."""
        task = self.task
        dataset = load_dataset(
            task.dataset,
            image_size=task.trial_size,
            data_dir=data_dir or (Path(task.data_dir) if task.data_dir else None),
            split_seed=task.split_seed,
            cache_dir=cache_dir,
        )
        if self.normalisation is not None:
            mean, std = self.normalisation
            dataset = dataclasses.replace(dataset, mean=mean, std=std)
        if self.fingerprint not in (None, dataset.fingerprint):
            raise DataError(
                f"the images of {task.dataset} have changed since {self.name} was trained; give the folder that holds "
                "the old ones to --data-dir, or train again"
            )
        return dataset

    def build_classifier(self, num_classes: int) -> nn.Module:
        """The classifier itself, in eval mode. Raises CheckpointError when it was trained for other classes."""
        model = build_backbone(
            self.task.backbone,
            num_classes=num_classes,
            image_size=self.task.trial_size,
            cache_dir=self.cache_dir or default_cache_dir(),
        )
        what = f"the classifier trained with {self.name} is not {self.task.backbone} with {num_classes} classes:"
        fill(model, self.classifier, what=what, cure=f"is {self.task.dataset} still what it was trained on?")
        return model.eval().requires_grad_(False)

    def localizer_at(self, snapshot: Snapshot) -> Localizer:
        """The localizer as it was, in eval mode."""
        localizer = Localizer(self.localizer.arch, self.localizer.image_size)
        fill(localizer, snapshot.localizer, what=f"the snapshot of {self.source}", cure="train it again")
        return localizer.eval().requires_grad_(False)


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class _Normalisation:
    """What is read of what a manifest or a report says about images."""

    mean: Channels | None = None
    std: Channels | None = None

    @property
    def pair(self) -> tuple[Channels, Channels] | None:
        """Both, or None."""
        return None if self.mean is None or self.std is None else (self.mean, self.std)


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class _Report:
    """What is read of an evaluation's report.json."""

    task: dict[str, Any]
    arch: Evaluation | None
    data: _Normalisation = _Normalisation()


def trained_of_run(run: "Run", entry: "Entry") -> Trained:
    """An entry of a search. Raises CheckpointError when the run keeps no jointly trained weights of it."""
    localizer, classifier = load_localizer(run, entry)
    source = f"{run.folder.path}:{entry.candidate.name}"
    file = checkpoint_file(run.folder.checkpoints_in, entry.candidate.arch, max(entry.rung, 0))
    return Trained(
        name=entry.candidate.name,
        source=source,
        retrain=source,
        task=run.task,
        localizer=localizer.requires_grad_(False),
        classifier=classifier,
        val_top1=entry.result.val_top1,
        snapshots=_snapshots(file),
        fingerprint=run.folder.manifest["data"]["fingerprint"],
        normalisation=read_as(_Normalisation, run.folder.manifest["data"]).pair,
    )


def trained_of_evaluation(folder: Path) -> Trained:
    """What `eval --out` left in a folder. Raises CheckpointError when it is not one, or holds no localizer."""
    cure = "give a folder that eval --out wrote, with an --arch that was trained"
    try:
        report = read_as(_Report, read_json(folder / "report.json"))
        if report.arch is None:
            raise ValueError("nothing but control and oracle was trained")
        name, task = checked_label(report.arch.name, "name"), Task.from_dict(report.task)
        weights, classifier = (load_torch(folder / file, cure=cure) for file in ("weights.pt", "classifier.pt"))
        localizer = Localizer(Arch.load(folder / "arch.json"), task.trial_size)
        fill(localizer, weights, what=str(folder / "weights.pt"), cure=cure)
    except CheckpointError as error:
        raise CheckpointError(f"{folder} holds no evaluated localizer: {error}") from None
    except LstnError:
        raise
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} holds no evaluated localizer ({error}); {cure}") from None
    return Trained(
        name=name,
        source=str(folder),
        retrain=f"{folder / 'arch.json'} --dataset {task.dataset}",
        task=task,
        localizer=localizer.eval().requires_grad_(False),
        classifier=classifier,
        val_top1=report.arch.result.val_top1,
        normalisation=report.data.pair,
    )


def train_for_show(prepared: Prepared, arch: Arch, *, name: str, on_stage: Callable[[str], None]) -> Trained:
    """Train `arch` at the task's schedule. Raises SettingError when the training diverges."""
    task = prepared.bench.task
    trial = start_trial(prepared, arch, on_stage=lambda what: on_stage(f"{name}: {what}"))
    steps = [trial.begin]
    if task.protocol == "recover":
        parts = sorted({1, max(1, task.epochs // 4), max(1, task.epochs // 2), task.epochs})
        steps += [functools.partial(trial.train_to, epochs) for epochs in parts]
    for step in steps:
        result = step()
        if result.status == "failed":
            raise SettingError(f"{name} cannot be shown: {result.reason}; try another --seed or --arch")
    localizer, classifier = split_trained(trial.state_dict()["trained"], arch, task.trial_size, what=name)
    return Trained(
        name=name,
        source="",
        task=task,
        localizer=localizer.requires_grad_(False),
        classifier=classifier,
        val_top1=result.val_top1,
        normalisation=(prepared.bench.dataset.mean, prepared.bench.dataset.std),
        cache_dir=prepared.bench.classifier.cache_dir,
        snapshots=tuple(Snapshot(**row) for row in trial.snapshots),
    )


def _snapshots(file: Path) -> tuple[Snapshot, ...]:
    """Those of a checkpoint that `load_trained` has accepted; none in one of an older version."""
    rows = load_checkpoint(file).get("snapshots", [])
    try:
        return tuple(Snapshot(**row) for row in rows)
    except TypeError:
        raise CheckpointError(f"{file}: its snapshots are none; train it again") from None
