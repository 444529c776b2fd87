"""Backbones come out with the wanted classes and size, from the library the rule names, or as one clear line."""

import pytest
import torch

from lstn_search.errors import BackboneError
from lstn_search.nets.backbones import backbone_names, build_backbone
from lstn_search.spec.task import DEFAULT_BACKBONE


def num_params(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "image_size"),
    [
        (DEFAULT_BACKBONE, 32),
        ("resnet18", 64),
        ("timm:resnet18", 64),
        ("vit_tiny_patch16_224", 64),  # timm; its positions are built for the size
        ("vit_b_32", 64),  # torchvision's, likewise
        ("googlenet", 64),  # has auxiliary outputs in training unless told otherwise
        ("lcnet_050.ra2_in1k", 64),  # a timm name with its tag
        ("paper_efficientnet_b0", 64),
    ],
)
def test_a_backbone_maps_images_to_one_row_of_logits_each(name: str, image_size: int) -> None:
    model = build_backbone(name, num_classes=7, image_size=image_size)
    assert model.training
    assert model(torch.zeros(2, 3, image_size, image_size)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("resnet18", "torchvision"),
        ("torchvision:resnet18", "torchvision"),
        ("timm:resnet18", "timm"),
        ("test_resnet", "timm"),
        ("paper_efficientnet_b0", "lstn_search"),
    ],
)
def test_torchvision_wins_unless_a_prefix_says_otherwise(name: str, library: str) -> None:
    model = build_backbone(name, num_classes=10, image_size=64)
    assert type(model).__module__.split(".")[0] == library


def test_weights_are_drawn_from_the_global_generator_alone() -> None:
    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        model = build_backbone(DEFAULT_BACKBONE, num_classes=5, image_size=32)
        return torch.nn.utils.parameters_to_vector(model.parameters())

    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))


def test_the_dry_forward_leaves_the_statistics_of_batch_norm_alone() -> None:
    model = build_backbone("resnet18", num_classes=5, image_size=32)
    tracked = [buffer for name, buffer in model.named_buffers() if name.endswith("num_batches_tracked")]
    assert tracked
    assert all(int(buffer) == 0 for buffer in tracked)


@pytest.mark.parametrize(
    ("name", "image_size", "cure"),
    [
        ("alexnet", 32, "works at 64 px"),
        ("timm:inception_v3", 32, "works at 75 px"),
        ("densenet121", 16, "works at 32 px"),
        ("vit_b_32", 50, "works at 64 px"),  # patches of 32 do not divide it: refused when built
    ],
)
def test_too_small_an_image_is_refused_with_a_size_that_works(name: str, image_size: int, cure: str) -> None:
    with pytest.raises(BackboneError, match=f"{image_size} px.*{cure}") as caught:
        build_backbone(name, num_classes=10, image_size=image_size)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("resnet81", "did you mean 'resnet18'"),
        ("paper_eficientnet_b0", "did you mean 'paper_efficientnet_b0'"),
        ("paper_efficientnet_b6", "did you mean 'paper_efficientnet_b5'"),
        ("timm:alexnet", "write 'alexnet', without prefix"),
        ("torchvision:resnet19", "did you mean 'resnet18'"),
        ("hf-hub:timm/resnet18", "write timm:NAME or torchvision:NAME"),
        ("resnet18.no_such_tag", "no_such_tag"),
        ("", "a backbone is a name"),
    ],
)
def test_an_unknown_name_is_answered_with_a_known_one(name: str, line: str) -> None:
    with pytest.raises(BackboneError, match=line):
        build_backbone(name, num_classes=10, image_size=64)


@pytest.mark.parametrize("num_classes", [0, -1, 2.5, True])
def test_a_count_of_classes_that_is_none_is_refused(num_classes: int) -> None:
    with pytest.raises(BackboneError, match=r"num_classes.*whole number of at least 1"):
        build_backbone(DEFAULT_BACKBONE, num_classes=num_classes, image_size=64)


def test_the_names_hold_both_libraries_and_the_paper() -> None:
    names = backbone_names()
    assert {"alexnet", "test_resnet", "densenet201", "paper_efficientnet_b5"} <= set(names)
    assert list(names) == sorted(set(names))
