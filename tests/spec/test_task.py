"""The task: what it refuses, how it is written down, and the key under which results are kept."""

import dataclasses
import json
import math
import subprocess
import sys
from typing import Any

import pytest

from lstn_search.errors import DataError, LstnError, SettingError
from lstn_search.spec.task import FULL_SCHEDULE, Task


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"trial_size": 0}, "trial size must be a whole number of at least 1, got 0"),
        ({"epochs": 2.0}, "epochs must be a whole number of at least 1, got 2.0"),
        ({"recover_steps": True}, "recover steps must be a whole number of at least 1, got True"),
        ({"batch_size": 1}, "batch size must be a whole number of at least 2, got 1"),
        ({"lr": 0.0}, "lr must be a number above 0, got 0.0"),
        ({"recover_lr": math.nan}, "recover lr must be a number above 0, got nan"),
        ({"localizer_lr_scale": "a lot"}, "localizer lr scale must be a number above 0, got 'a lot'"),
        ({"protocol": "papr"}, "unknown protocol 'papr'; did you mean 'paper'?"),
        ({"view": "afine"}, "unknown view 'afine'; did you mean 'affine'?"),
        ({"view_strength": 3.0}, "view strength must be a number above 0 and up to 2, got 3.0"),
        ({"dataset": "glyfs"}, "unknown dataset 'glyfs'; did you mean 'glyphs'?"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_line(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(LstnError) as caught:
        Task(**{"dataset": "glyphs", **settings})
    assert isinstance(caught.value, DataError if "dataset" in settings else SettingError)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_papers_protocol_is_the_papers() -> None:
    task = Task.paper(dataset="caltech101", seed=3)
    assert (task.view, task.protocol, task.batch_size, task.lr, task.localizer_lr_scale) == (
        "none",
        "paper",
        20,
        1e-3,
        1.0,
    )
    assert (task.epochs, task.max_epochs, task.seed) == (280, 500, 3)
    assert Task.paper(dataset="caltech101", batch_size=10).batch_size == 10
    with pytest.raises(SettingError, match=r"max epochs 100 is below the floor of 280 epochs.*lower --epochs"):
        Task.paper(dataset="caltech101", max_epochs=100)


def test_it_is_written_as_json_and_read_back() -> None:
    task = Task.paper(dataset="folder:images", data_dir="x", epochs=3)
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task
    with pytest.raises(SettingError, match=r"task: unknown field 'epoch'; did you mean 'epochs'"):
        Task.from_dict({"dataset": "glyphs", "epoch": 2})


def test_the_full_schedule_is_longer_than_that_of_a_search() -> None:
    task = Task(dataset="glyphs")
    assert all(value > getattr(task, name) for name, value in FULL_SCHEDULE.items())


def test_a_key_changes_with_what_it_names_and_with_nothing_else() -> None:
    task = Task(dataset="glyphs")
    key = task.key("warm", fingerprint="abc", device="cpu")
    assert dataclasses.replace(task, epochs=99).key("warm", device="cpu", fingerprint="abc") == key
    others = [
        dataclasses.replace(task, seed=1).key("warm", fingerprint="abc", device="cpu"),
        task.key("warm", fingerprint="abd", device="cpu"),
        task.key("warm", fingerprint="abc"),
        task.key("reference", fingerprint="abc", device="cpu"),
    ]
    assert len({key, *others}) == 5


def test_a_key_is_the_same_in_every_process_and_needs_no_torch() -> None:
    code = (
        "import sys; from lstn_search.spec.task import Task;"
        "print(Task(dataset='glyphs').key('run', x=[1.5, None]));"
        "assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == Task(dataset="glyphs").key("run", x=[1.5, None])


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"image_size": 16_385}, "image size must be at most 16,384, got 16385"),
        ({"trial_size": 10**9}, "trial size must be at most 4,096, got 1000000000"),
        ({"epochs": 10**400}, f"epochs must be at most 100,000, got 1{'0' * 79}…"),
        ({"recover_steps": 10**8}, "recover steps must be at most 10,000,000, got 100000000"),
        ({"batch_size": 65_537}, "batch size must be at most 65,536, got 65537"),
        ({"lr": 10**400}, f"lr must be at most 1e+38, got 1{'0' * 79}…"),
        ({"seed": -(2**64)}, "seed must be at most 9,223,372,036,854,775,808, got -18446744073709551616"),
        ({"backbone": ""}, "backbone must be text of 1 to 4096 characters, got ''"),
        ({"data_dir": ""}, "data dir must be text of 1 to 4096 characters, got ''"),
        ({"data_dir": "a\0b"}, "data dir must be text of 1 to 4096 characters, got 'a\\x00b'"),
        ({"poses": 3}, "poses must be text of 1 to 4096 characters, got 3"),
        ({"view": ["affine"]}, "unknown view ['affine']"),
    ],
)
def test_a_value_beyond_all_sense_is_one_short_line(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingError) as caught:
        Task(**{"dataset": "glyphs", **settings})
    assert str(caught.value).startswith(line)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("data", [None, [], {}, {"dataset": None}, {"dataset": "glyphs", "device": 3}])
def test_what_is_no_task_is_refused_when_it_is_read(data: Any) -> None:
    with pytest.raises(LstnError):
        Task.from_dict(data)
