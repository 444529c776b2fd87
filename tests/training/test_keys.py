"""What is kept is found again by every setting it may depend on: settings opt out of keys, with a reason, never in."""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from small_search import make_settings
from small_training import small_task

from lstn_search.ranking import deployment
from lstn_search.runs.entries import make_candidate
from lstn_search.runs.folder import RunFolder, _difference
from lstn_search.runs.run import Run
from lstn_search.spec.fields import described, ignored_by
from lstn_search.spec.space import Space
from lstn_search.spec.task import RECIPE_VERSION, Kind, Task
from lstn_search.training.references import reference_key
from lstn_search.training.warm import Warm, warm_key
from lstn_search.training.workbench import Workbench
from lstn_search.verification.records import Records

TEXTS = {
    "dataset": "cifar10", "data_dir": "/elsewhere", "backbone": "resnet18", "device": "cuda", "poses": "known",
    "backbone_weights": "/weights.pt", "mean": "0.4,0.4,0.4", "std": "0.2,0.2,0.2", "augment": "mine:brighter"
}  # fmt: skip
"""Another value for each setting that is free text; what has bounds or choices follows from them."""


def other_value(task: Task, name: str) -> Any:
    """A valid value that the task does not have."""
    (known,) = (known for field, known in described(Task) if field.name == name)
    value = getattr(task, name)
    if known.choices:
        return next(choice for choice in known.choices if choice != value)
    if isinstance(value, bool):
        return not value
    return TEXTS[name] if name in TEXTS else value + 1 if isinstance(value, int) else value / 2


@pytest.fixture(scope="module")
def task(small_dataset: Path) -> Task:
    return small_task(small_dataset)


@pytest.fixture
def keys(bench: Workbench, small_space: Space, tmp_path: Path) -> dict[Kind, Callable[[Task], Any]]:
    """What names a thing of each kind, by the task alone: images, settled precision and device stay as they are."""

    def on(task: Task) -> Workbench:
        changed = copy.copy(bench)
        changed.task = task
        return changed

    def settings(task: Task) -> dict[str, Any]:
        return make_settings(small_space, task, seed=task.seed).to_dict()

    def header(task: Task) -> dict[str, Any]:
        folder = RunFolder(tmp_path, {"settings": settings(task)})
        candidate = make_candidate(folder.settings, 0, "good", small_space.seeds["good"], is_seed=True)
        return deployment._header(Run(folder=folder, entries=[]), candidate, 0)

    return {
        "warm": lambda task: warm_key(on(task)),
        "reference": lambda task: reference_key(on(task), None),
        "precision": lambda task: task.key("precision"),
        "verification": lambda task: Records(tmp_path, task)._settings,
        "deployment": header,
        "run": lambda task: _difference(settings(bench.task), settings(task)),
    }


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Task)])
@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_setting_is_part_of_a_key_or_says_why_not(
    kind: Kind, name: str, task: Task, keys: dict[Kind, Callable[[Task], Any]]
) -> None:
    changed = dataclasses.replace(task, **{name: other_value(task, name)})
    replaced = (kind, name) == ("deployment", "trial_size")  # by image_size: that is what deployment means
    assert (keys[kind](changed) == keys[kind](task)) is (name in ignored_by(Task, kind) or replaced)


def test_the_key_of_the_warm_classifier_is_part_of_that_of_a_reference(bench: Workbench, warm: Warm) -> None:
    longer = copy.copy(bench)
    longer.task = dataclasses.replace(bench.task, warm_epochs=bench.task.warm_epochs + 1)
    assert reference_key(longer, None) == reference_key(bench, None)
    assert reference_key(longer, warm) != reference_key(bench, warm)


def test_records_of_earlier_settings_are_found_and_those_of_an_earlier_recipe_are_not(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings that they were kept under, spelt out; what lay outside a picture was grey then."""
    task = dataclasses.replace(task, fill="zeros", recover_loss="mse")
    content = {
        name: getattr(task, name)
        for name in (
            *("dataset", "backbone", "image_size", "trial_size", "view", "view_strength", "protocol", "recover_steps"),
            *("recover_lr", "epochs", "max_epochs", "warm_epochs", "batch_size", "lr", "localizer_lr_scale"),
            *("split_seed", "precision"),
        )
    }
    digest = hashlib.sha256(json.dumps(content | {"recipe": RECIPE_VERSION}, sort_keys=True).encode()).hexdigest()
    assert Records(tmp_path, task)._settings == digest
    monkeypatch.setattr("lstn_search.spec.task.RECIPE_VERSION", RECIPE_VERSION - 1)
    assert Records(tmp_path, task)._settings != digest


def test_what_was_kept_before_a_setting_is_kept_at_the_value_that_it_had(task: Task) -> None:
    assert "recover_loss" not in dataclasses.replace(task, recover_loss="mse").compared("verification")
    assert dataclasses.replace(task, recover_loss="corner").compared("verification")["recover_loss"] == "corner"
