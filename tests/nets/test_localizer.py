"""The localization net: the identity until it has learnt something, with a theta as precise as float32."""

import dataclasses
import itertools
import random

import pytest
import torch
from tiny_spaces import SKIPS, with_warp

from lstn_search.errors import ArchError
from lstn_search.nets.localizer import Localizer, SoftArgmax
from lstn_search.spec.arch import Arch, Head, Layer
from lstn_search.spec.cost import cost, fits
from lstn_search.spec.space import load_space
from lstn_search.spec.warp_families import WARP_FAMILIES

SPACE = load_space("lstn")
SIZE_PX = 40


def random_archs(num: int) -> list[Arch]:
    rng = random.Random(1)
    drawn = (SPACE.expand(SPACE.sample(rng)) for _ in itertools.count())
    return list(itertools.islice((arch for arch in drawn if fits(arch, SIZE_PX)), num))


WARPS = [with_warp(SPACE.seeds["light"], warp) for warp in WARP_FAMILIES]
LOOKS = [dataclasses.replace(SPACE.seeds[name], look=24) for name in ("stn", "places")]
ARCHS = [*SPACE.seeds.values(), SKIPS, *WARPS, *LOOKS, *random_archs(12)]


def awake(arch: Arch) -> Localizer:
    """A localizer whose last layer has weights, as after training."""
    torch.manual_seed(0)
    localizer = Localizer(arch, SIZE_PX)
    torch.nn.init.normal_(localizer.last.weight, std=0.1)
    return localizer


@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_a_fresh_localizer_says_identity_whatever_it_sees(training: bool) -> None:
    images = torch.cat([100 * torch.randn(3, 3, SIZE_PX, SIZE_PX), torch.zeros(1, 3, SIZE_PX, SIZE_PX)])
    for arch in ARCHS:
        theta_B23 = Localizer(arch, SIZE_PX).train(training)(images)
        assert theta_B23.dtype == torch.float32
        assert torch.equal(theta_B23, torch.eye(2, 3).expand(4, 2, 3))


@torch.no_grad()
def test_it_is_the_identity_again_after_a_reset() -> None:
    localizer = awake(SPACE.seeds["lstn"]).eval()
    image = torch.randn(1, 3, SIZE_PX, SIZE_PX)
    assert not torch.equal(localizer(image).flatten(), torch.eye(2, 3).flatten())
    localizer.reset_to_identity()
    assert torch.equal(localizer(image).flatten(), torch.eye(2, 3).flatten())


def test_it_has_the_parameters_that_cost_counts_and_all_of_them_get_a_gradient() -> None:
    for arch in ARCHS:
        localizer = awake(arch)
        assert sum(weight.numel() for weight in localizer.parameters()) == cost(arch, SIZE_PX).params
        localizer(torch.randn(4, 3, SIZE_PX, SIZE_PX)).square().sum().backward()
        assert all(weight.grad is not None for weight in localizer.parameters())


@torch.no_grad()
def test_theta_is_not_rounded_under_autocast() -> None:
    images = torch.randn(16, 3, SIZE_PX, SIZE_PX)
    for arch in (SPACE.seeds["stn"], SPACE.seeds["lstn"], SPACE.seeds["light"]):
        localizer = awake(arch).eval()
        exact_B23 = localizer(images)
        with torch.autocast("cpu", torch.bfloat16):
            theta_B23 = localizer(images)
        assert theta_B23.dtype == torch.float32
        on_the_grid = theta_B23 == theta_B23.bfloat16().float()  # bf16 near 1 has steps of 1/128
        assert on_the_grid.float().mean() < 0.1
        assert (theta_B23 - exact_B23).abs().max() < 0.05


def test_layers_are_applied_in_the_order_their_docstring_gives() -> None:
    layer = Layer(out_channels=5, kernel=3, stride=2, padding=1, norm="conv-act-bn", max_pool=2)
    arch = Arch(layers=(layer,), head=Head(pool_to=2, hidden=7))
    localizer = awake(arch).eval()
    conv, _, _, norm = localizer.features
    norm.running_mean.uniform_()  # type: ignore[union-attr, operator]
    x_BCHW = torch.randn(2, 3, SIZE_PX, SIZE_PX)
    with torch.no_grad():
        h = torch.nn.functional.conv2d(x_BCHW, conv.weight, conv.bias, stride=2, padding=1)  # type: ignore[arg-type]
        h = h.relu().unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(4, 5))
        h = (h - norm.running_mean.view(-1, 1, 1)) / (norm.running_var.view(-1, 1, 1) + norm.eps).sqrt()  # type: ignore[union-attr, operator]
        h = h.unfold(2, 5, 5).unfold(3, 5, 5).mean(dim=(4, 5)).flatten(1)  # 10 x 10 pooled to 2 x 2
        hidden, last = localizer.head[2], localizer.last
        expected = (h @ hidden.weight.T + hidden.bias).relu() @ last.weight.T + last.bias  # type: ignore[operator]
        torch.testing.assert_close(localizer(x_BCHW), expected.view(-1, 2, 3))


def test_a_skip_adds_the_input_of_its_layers() -> None:
    layers = (Layer(out_channels=5, kernel=1), Layer(out_channels=5, kernel=3, padding=1, skip=1),
              Layer(out_channels=3, kernel=1, act="none", skip=3))  # fmt: skip
    arch = Arch(layers=layers, head=Head(pool_to=1, hidden=0))
    localizer = awake(arch).eval()
    convs = [module for module in localizer.modules() if isinstance(module, torch.nn.Conv2d)]
    x_BCHW = torch.randn(2, 3, SIZE_PX, SIZE_PX)
    with torch.no_grad():
        inner = convs[0](x_BCHW).relu()
        outer = x_BCHW + convs[2](inner + convs[1](inner).relu())
        torch.testing.assert_close(localizer(x_BCHW), localizer.last(outer.mean(dim=(2, 3))).view(-1, 2, 3))


@pytest.mark.parametrize(("name", "size"), [("stn", 8), ("vstn", 12), ("lstn", 10)])
def test_an_image_too_small_is_refused(name: str, size: int) -> None:
    with pytest.raises(ArchError, match=f"image size {size}"):
        Localizer(SPACE.seeds[name], size)


def test_a_head_that_pools_to_more_than_the_map_is_refused() -> None:
    with pytest.raises(ArchError, match="pool_to 9"):
        Localizer(Arch(layers=(Layer(out_channels=2, kernel=3, stride=2),), head=Head(pool_to=9)), 16)


# -- a look ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_look_is_the_same_net_at_every_size() -> None:
    arch = dataclasses.replace(SPACE.seeds["stn"], look=24)
    small = awake(arch).eval()
    assert small.state_dict().keys() == Localizer(dataclasses.replace(arch, look=None), 24).state_dict().keys()
    for size in (24, 25, 96, 224):
        large = Localizer(arch, size).eval()
        large.load_state_dict(small.state_dict())
        x_BCHW = torch.randn(2, 3, size, size)
        assert torch.equal(large(x_BCHW), small(x_BCHW))


@pytest.mark.parametrize("size", [(24, 24), (60, 60), (35, 100)])
@torch.no_grad()
def test_a_look_averages_the_image_whatever_its_sides(size: tuple[int, int]) -> None:
    arch = dataclasses.replace(SPACE.seeds["stn"], look=24)
    looking = awake(arch).eval()
    plain = Localizer(dataclasses.replace(arch, look=None), 24).eval()
    plain.load_state_dict(looking.state_dict())
    x_BCHW = torch.randn(2, 3, *size)
    rows, columns = ([slice(i * n // 24, -(-(i + 1) * n // 24)) for i in range(24)] for n in size)
    seen = torch.stack(
        [torch.stack([x_BCHW[:, :, r, c].mean(dim=(2, 3)) for c in columns], dim=2) for r in rows], dim=2
    )
    torch.testing.assert_close(looking(x_BCHW), plain(seen))


def test_a_look_that_shrinks_a_map_away_is_refused() -> None:
    with pytest.raises(ArchError, match="at look 8"):
        Localizer(dataclasses.replace(SPACE.seeds["stn"], look=8), 64)


# -- soft-argmax -------------------------------------------------------------------------------------------------------


def test_soft_argmax_is_the_moments_of_the_softmax() -> None:
    x_BCHW = 3 * torch.randn(2, 3, 4, 7)
    found_BF = SoftArgmax()(x_BCHW)
    assert found_BF.shape == (2, 12)
    for b, c in itertools.product(range(2), range(3)):
        weights = x_BCHW[b, c].double().exp() / x_BCHW[b, c].double().exp().sum()
        cells = [(float(weights[i, j]), (2 * j + 1) / 7 - 1, (2 * i + 1) / 4 - 1) for i in range(4) for j in range(7)]
        x, y = (sum(cell[0] * cell[k] for cell in cells) for k in (1, 2))
        spread = sum(w * ((u - x) ** 2 + (v - y) ** 2) for w, u, v in cells)
        expected = torch.tensor([x, y, spread, float(x_BCHW[b, c].mean())])
        torch.testing.assert_close(found_BF[b, c::3], expected, rtol=1e-4, atol=1e-5)


def test_soft_argmax_is_exact_under_autocast_and_has_a_gradient_everywhere() -> None:
    x_BCHW = torch.randn(2, 4, 9, 9, requires_grad=True)
    exact_BF = SoftArgmax()(x_BCHW)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(SoftArgmax()(x_BCHW), exact_BF)
    assert SoftArgmax()(x_BCHW.bfloat16()).dtype == torch.float32
    exact_BF.sum().backward()
    assert x_BCHW.grad is not None and (x_BCHW.grad != 0).all()
    peak = torch.full((1, 1, 8, 8), -1e4)
    peak[0, 0, 6, 1] = 1e4
    assert torch.equal(SoftArgmax()(peak)[0, :3], torch.tensor([-0.625, 0.625, 0.0])), "no negative spread"


@torch.no_grad()
def test_a_shift_of_the_map_moves_x_and_y_alone() -> None:
    blob = torch.zeros(1, 1, 16, 16)
    blob[..., 4:7, 5:8] = 30.0
    before, after = SoftArgmax()(blob)[0], SoftArgmax()(blob.roll((3, 2), dims=(2, 3)))[0]
    torch.testing.assert_close(after - before, torch.tensor([2 * 2 / 16, 3 * 2 / 16, 0.0, 0.0]), atol=1e-6, rtol=0)
