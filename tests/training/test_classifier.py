"""Classifiers that users bring: by function, as a module, with weights of their own or of a library."""

import dataclasses
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from small_training import small_task, state_of
from torch import nn

import lstn_search as ls
from lstn_search.errors import BackboneError, CheckpointError, LstnError, SettingError
from lstn_search.nets.backbones import build_backbone, build_pretrained
from lstn_search.nets.weights import save_weights
from lstn_search.runs.folder import RunFolder
from lstn_search.spec.task import Task
from lstn_search.training import warm as warm_module
from lstn_search.training.warm import Warm, warm_backbone, warm_key
from lstn_search.training.workbench import Workbench

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, channels=3):
        super().__init__()
        self.body = nn.Conv2d(channels, 8, 3, 2)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.head(self.body(x).relu().mean((2, 3)))

def make(num_classes, image_size):
    assert image_size == 24
    return Net(num_classes)

def trained(num_classes):
    net = Net(num_classes)
    torch.nn.init.constant_(net.body.weight, 0.25)
    net.pretrained_cfg = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.3)}
    return net

def grey(num_classes):
    return Net(num_classes, channels=1)

def no_net(num_classes):
    return num_classes

def takes_nothing():
    return Net(6)

number = 5
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the working directory, and its name."""
    name = f"my_nets_{abs(hash(tmp_path)):x}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


Make = Callable[..., Workbench]


@pytest.fixture
def make(small_dataset: Path, small_cache: Path) -> Make:
    def make(**settings: Any) -> Workbench:
        return Workbench(small_task(small_dataset, **settings), cache_dir=small_cache, progress=False)

    return make


def test_a_function_of_ones_own_makes_the_classifier(code: str, make: Make) -> None:
    bench = make(backbone=f"{code}:make")
    model, start = bench.start_backbone()
    assert (type(model).__name__, start) == ("Net", "drawn")
    assert all(
        torch.equal(one, two) for one, two in zip(model.parameters(), bench.build_backbone().parameters(), strict=True)
    )
    function = sys.modules[code].make
    assert Task(dataset="glyphs", backbone=function).backbone == f"{code}:make"


def test_weights_that_a_function_brings_are_seen_and_so_is_the_normalisation(code: str, make: Make) -> None:
    bench = make(backbone=f"{code}:trained")
    assert bench.start_backbone()[1] == "brought"
    assert (bench.dataset.mean, bench.dataset.std) == ((0.4, 0.5, 0.6), (0.2, 0.2, 0.3))
    batch = next(bench.eval_batches(bench.dataset.val_I[:4], None))
    pixels_BCHW = bench.dataset.images_NHWC[bench.dataset.val_I[:4]].permute(0, 3, 1, 2) / 255
    expected = (pixels_BCHW - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / torch.tensor([0.2, 0.2, 0.3]).view(3, 1, 1)
    torch.testing.assert_close(batch.x_BCHW, expected)
    assert make(backbone=f"{code}:trained", mean="0.1,0.2,0.3").dataset.mean == (0.1, 0.2, 0.3)
    assert make().dataset.mean == make().dataset.std == (0.5, 0.5, 0.5)


def test_other_code_is_another_classifier_and_other_comments_are_not(code: str, make: Make) -> None:
    def key() -> str:
        sys.modules.pop(code, None)
        return warm_key(make(backbone=f"{code}:make"))

    file = Path(f"{code}.py")
    first = key()
    assert key() == first
    file.write_text(f"# {'a comment ' * 5}\n{CODE}")
    assert key() == first
    file.write_text(CODE.replace("relu()", "tanh()"))
    assert key() != first
    assert make().code_in_keys == {}


def test_a_run_knows_that_its_code_is_needed(tmp_path: Path) -> None:
    data = {"fingerprint": "a"}
    folder = RunFolder(tmp_path, {"data": data, "code": {"backbone": "x", "augment": ""}})
    folder.check_same_images({"data": data, "code": {"backbone": "x", "augment": ""}}, cure="")
    folder.check_same_images({"data": data, "code": {"backbone": "y"}}, cure="", at_another_size=True)
    for code in ({"code": {"backbone": "y"}}, {}):
        with pytest.raises(LstnError, match=r"was made with another classifier .+; restore it, or search anew"):
            folder.check_same_images({"data": data, **code}, cure="")
    RunFolder(tmp_path, {"data": data}).check_same_images({"data": data}, cure="")  # one of before


@pytest.mark.parametrize(
    ("which", "line"),
    [
        ("{}:grey", r"its first layer takes 1 channel, and all images here have three, grey ones three equal ones"),
        ("{}:no_net", r"returned int, no torch module; return the classifier"),
        ("{}:takes_nothing", r"does not take num_classes; write it as def takes_nothing\(num_classes, image_size\)"),
        ("{}:mkae", r"has no 'mkae'; did you mean 'make'"),
        ("{}:number", r"is 5, which cannot be called; name a function"),
        ("not_there_at_all:make", r"there is no module 'not_there_at_all' in .+; start where it lies, or add"),
        ("saved:0123", r"is not in the cache .+; save it again with lstn_search.backbone"),
    ],
)
def test_what_is_no_classifier_is_one_line(code: str, which: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(LstnError, match=line) as caught:
        build_backbone(which.format(code), num_classes=6, image_size=24, cache_dir=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["import no_such_package", "raise SystemExit(3)", "def make(:"])
def test_code_that_cannot_be_imported_is_one_line(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "broken_code_of_mine.py").write_text(source)
    with pytest.raises(SettingError, match=r"'broken_code_of_mine:make' cannot be imported \(.+\); ") as caught:
        build_backbone("broken_code_of_mine:make", num_classes=6, image_size=24)
    assert "\n" not in str(caught.value)


# -- weights -----------------------------------------------------------------------------------------------------------


def no_training(monkeypatch: pytest.MonkeyPatch, bench: Workbench) -> None:
    monkeypatch.setattr(bench, "train_batches", lambda *args, **options: pytest.fail("trained"))


HALF = {"mean": "0.5,0.5,0.5", "std": "0.5,0.5,0.5"}
"""What the small task's classifier was trained with; that of timm's weights is another one."""


@pytest.mark.parametrize("form", ["safetensors", "state", "checkpoint"])
def test_a_file_of_all_weights_is_the_warm_classifier(
    form: str, make: Make, warm: Warm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / f"weights.{form}"
    if form == "safetensors":
        save_weights(file, warm.weights)
    else:
        state = {f"module.{name}": tensor for name, tensor in warm.weights.items()}
        torch.save(state if form == "state" else {"epoch": 3, "state_dict": state}, file)
    with caplog.at_level(logging.WARNING):
        bench = make(backbone_weights=str(file), **HALF)
    assert "are the warm classifier, which is not trained alone" in caplog.text
    no_training(monkeypatch, bench)
    found = warm_backbone(bench, tmp_path / "cache")
    assert found.val_clean == warm.val_clean and found.key != warm.key
    assert all(torch.equal(tensor, warm.weights[name]) for name, tensor in found.weights.items())


def test_weights_that_do_no_better_than_chance_are_refused(make: Make, warm: Warm, tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", warm.weights)
    bench = make(backbone_weights=str(tmp_path / "w.safetensors"))
    assert bench.dataset.mean == (0.485, 0.456, 0.406)
    with pytest.raises(
        SettingError, match=r"name 16\.7 % of .+ as chance does; .+ --mean and --std as it was trained with"
    ):
        warm_backbone(bench, tmp_path)


def test_weights_for_other_classes_are_a_start(
    make: Make, warm: Warm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = [name for name, tensor in warm.weights.items() if len(tensor.shape) and tensor.shape[0] == 6]
    assert len(heads) == 2
    torch.save(
        warm.weights | {name: torch.zeros(9, *warm.weights[name].shape[1:]) for name in heads}, tmp_path / "w.pt"
    )
    bench = make(backbone_weights=str(tmp_path / "w.pt"), warm_epochs=1)
    assert f"fit but for {', '.join(heads)}: these are drawn anew" in bench.dataset.notes[-1]
    model, start = bench.start_backbone()
    assert start == "brought"
    fresh = bench.build_backbone().state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, fresh[name] if name in heads else warm.weights[name])
    rates: list[float] = []
    adam = torch.optim.Adam
    monkeypatch.setattr(
        torch.optim, "Adam", lambda parameters, **options: rates.append(options["lr"]) or adam(parameters, **options)
    )
    warm_backbone(bench, tmp_path / "cache")
    assert rates == [warm_module.PEAK_LR / 10]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, r"cannot be read \(No such file or directory\); give a safetensors file, or one of torch\.save"),
        ("text", r"not a checkpoint, or a damaged one; give a safetensors file, or one of torch\.save"),
        ({"epoch": 3}, r"it holds no weights"),
        (
            {"fc.weight": torch.zeros(3)},
            r"do not fit: 0 of \d+ tensors do, and .+ is missing.+ name theirs with --backbone",
        ),
    ],
)
def test_a_file_that_holds_no_such_weights_is_one_line(content: Any, line: str, make: Make, tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    if isinstance(content, str):
        file.write_text(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(CheckpointError, match=line) as caught:
        make(backbone_weights=str(file))
    assert "\n" not in str(caught.value)


def test_a_trained_module_is_saved_and_found_again(
    code: str, make: Make, warm: Warm, bench: Workbench, small_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = ls.backbone(warm.backbone(bench), cache_dir=small_cache)
    assert name == ls.backbone(warm.backbone(bench), cache_dir=small_cache) and name.startswith("saved:")
    saved = make(backbone=name, **HALF)
    assert saved.start_backbone()[1] == "complete"
    assert all(torch.equal(tensor, warm.weights[key]) for key, tensor in state_of(saved.build_backbone()).items())
    no_training(monkeypatch, saved)
    assert warm_backbone(saved, small_cache).val_clean == warm.val_clean
    with pytest.raises(BackboneError, match=r"to rows of 7 \(it gives torch.Size\(\[1, 6\]\) where one row of 7"):
        build_backbone(name, num_classes=7, image_size=24, cache_dir=small_cache)


def test_what_workers_cannot_import_is_refused(tmp_path: Path) -> None:
    class Local(nn.Module):
        pass

    with pytest.raises(LstnError, match=r"cannot be imported by workers; write it as a function in a \.py file"):
        ls.backbone(Local(), cache_dir=tmp_path)
    for thing in (lambda num_classes: None, nn.Linear(2, 2)):
        with pytest.raises(SettingError, match=r"cannot be imported by workers.+lstn_search\.backbone"):
            Task(dataset="glyphs", backbone=thing)  # type: ignore[arg-type]


# -- weights of libraries ----------------------------------------------------------------------------------------------


def test_pretrained_weights_are_asked_for_and_the_pixels_are_as_they_want_them(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    create = timm.create_model

    def offered(name: str, *, pretrained: bool, **options: Any) -> nn.Module:
        asked.append(pretrained)
        if pretrained:
            torch.manual_seed(77)
        return create(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offered)
    bench = make(backbone="timm:resnet18.a1_in1k", pretrained=True)
    assert bench.dataset.mean == (0.485, 0.456, 0.406) and bench.dataset.std == (0.229, 0.224, 0.225)
    assert bench.code["backbone"] == "timm resnet18.a1_in1k" and asked == []
    model, start = bench.start_backbone()
    assert start == "brought" and asked == [False, True]
    torch.manual_seed(77)
    assert torch.equal(model.conv1.weight, create("resnet18", num_classes=6).conv1.weight)  # type: ignore[union-attr, arg-type]
    assert warm_key(bench) != warm_key(make(backbone="timm:resnet18.a1_in1k"))


def test_without_a_network_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(name: str, *, pretrained: bool, **options: Any) -> nn.Module:
        if pretrained:
            raise OSError("cannot reach the hub\nfor many reasons")
        return create(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        BackboneError, match=r"cannot be had \(cannot reach the hub\); run it once with a network"
    ) as caught:
        build_pretrained("test_resnet", num_classes=6, image_size=32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["paper_efficientnet_b0", "timm:efficientnet_b8"])
def test_where_no_weights_are_offered_that_is_said(name: str) -> None:
    with pytest.raises(BackboneError, match=r"there are no pre-trained weights of .+; leave --pretrained out"):
        build_pretrained(name, num_classes=6, image_size=64)


def test_a_tag_trains_from_its_weights_or_not_at_all(small_dataset: Path) -> None:
    task = small_task(small_dataset, backbone="resnet18.a1_in1k")
    with pytest.raises(SettingError, match=r"names the pre-trained weights 'a1_in1k'; add --pretrained .+ 'resnet18'"):
        ls.train(ls.load_space("lstn").seeds["lstn"], task)
    dataclasses.replace(task, pretrained=True).check_tag()
    for name in ("resnet18", "timm:resnet18", "my.nets:make"):
        dataclasses.replace(task, backbone=name).check_tag()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"pretrained": 1}, "pretrained must be true or false, got 1"),
        (
            {"pretrained": True, "backbone_weights": "w"},
            "--pretrained and --backbone-weights both say where to start from",
        ),
        ({"pretrained": True, "backbone": "my.nets:make"}, "--pretrained is for names of timm and torchvision"),
        ({"pretrained": True, "protocol": "paper"}, "the paper's protocol trains from scratch; leave --pretrained out"),
        ({"mean": "0.5"}, "'0.5' is no mean or deviation of pixels; write one number a channel: 0.5,0.5,0.5"),
        ({"std": "1,1,0"}, "the deviation of pixels must be above 0, got 1,1,0"),
        ({"augment": "brighter"}, "'brighter' names no code of yours; write module:function"),
    ],
)
def test_settings_that_do_not_go_together_are_one_line(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingError) as caught:
        Task(dataset="glyphs", **settings)
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_means_may_be_numbers() -> None:
    assert Task(dataset="glyphs", mean=(0.1, 0.2, 0.3)) == Task(dataset="glyphs", mean="0.1,0.2,0.3")  # type: ignore[arg-type]
