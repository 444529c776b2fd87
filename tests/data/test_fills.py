"""What lies outside a warped picture, against statements in numpy that read single pixels."""

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
import torch

from lstn_search.data.fills import Fills, draw_fills, fill_for_scoring, show
from lstn_search.data.views import View, resample
from lstn_search.spec.names import FILL_NAMES, SCORED_FILLS

SIZE_PX = 8
SHIFT_PX = 3
"""What is shown begins so many pixels right of, and above, the picture's upper left corner."""


def images(num: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(num, 3, SIZE_PX, SIZE_PX, generator=torch.Generator().manual_seed(seed))


def outside(kind: str, num: int = 5) -> Fills:
    colour_BC11 = torch.rand(num, 3, 1, 1, generator=torch.Generator().manual_seed(2))
    return Fills((kind,) * num, images(num, seed=1), colour_BC11)


def shifted(fills: Fills) -> torch.Tensor:
    shift = 2 * SHIFT_PX / SIZE_PX
    theta_B23 = torch.tensor([[1, 0, shift], [0, 1, -shift]]).expand(len(fills.kinds), 2, 3)
    return resample(images(len(fills.kinds)), theta_B23, fills)


def by_pixels(kind: str, position: int, fills: Fills) -> npt.NDArray[np.float64]:
    """The same, pixel by pixel: a shift by whole pixels lets every point fall on one."""
    image = images()[position].double().numpy()
    assert fills.partner_BCHW is not None and fills.colour_BC11 is not None
    shown = np.zeros_like(image)
    for y in range(SIZE_PX):
        for x in range(SIZE_PX):
            row, column = y - SHIFT_PX, x + SHIFT_PX
            if row >= 0 and column < SIZE_PX:
                shown[:, y, x] = image[:, row, column]
            elif kind == "reflection":
                shown[:, y, x] = image[:, -row - 1 if row < 0 else row, min(column, 2 * SIZE_PX - 1 - column)]
            elif kind == "border":
                shown[:, y, x] = image[:, max(row, 0), min(column, SIZE_PX - 1)]
            elif kind == "picture":
                shown[:, y, x] = fills.partner_BCHW[position, :, y, x]
            elif kind == "colour":
                shown[:, y, x] = fills.colour_BC11[position, :, 0, 0]
    return shown


@pytest.mark.parametrize("kind", [*SCORED_FILLS, "zeros"])
def test_each_fill_is_what_its_name_says(kind: str) -> None:
    fills = outside(kind)
    expected = np.stack([by_pixels(kind, position, fills) for position in range(5)])
    np.testing.assert_allclose(shifted(fills).numpy(), expected, atol=1e-5)


def test_a_batch_may_hold_all_of_them() -> None:
    kinds = (*SCORED_FILLS, "zeros")
    mixed = shifted(Fills(kinds, outside("picture").partner_BCHW, outside("colour").colour_BC11))
    for position, kind in enumerate(kinds):
        torch.testing.assert_close(mixed[position], shifted(outside(kind))[position], rtol=0, atol=1e-6)


def test_inside_the_picture_all_are_the_same() -> None:
    x_BCHW, theta_B23 = images(64), View().draw(64, torch.Generator().manual_seed(0))
    inside_B1HW = resample(torch.ones_like(x_BCHW), theta_B23, outside("zeros", 64))[:, :1]
    kinds = (*SCORED_FILLS, "zeros")
    shown = [resample(x_BCHW, theta_B23, outside(kind, 64)) for kind in kinds]
    whole = (inside_B1HW > 1 - 1e-6).expand_as(x_BCHW)
    assert 0.3 < whole.double().mean() < 0.9
    for one in shown[:-1]:
        torch.testing.assert_close(one[whole], shown[-1][whole], rtol=0, atol=1e-5)
        assert (one - shown[-1])[~whole].abs().mean() > 0.1


def test_a_point_on_the_edge_is_a_mixture() -> None:
    """A quarter of a pixel beyond the middle of the last one: three quarters of it, and the rest of the fill."""
    x_BCHW, fills = images(1), outside("colour", 1)
    grid_BHW2 = torch.tensor([1 - 1 / SIZE_PX + 2 * 0.25 / SIZE_PX, 1 / SIZE_PX - 1]).view(1, 1, 1, 2)
    assert fills.colour_BC11 is not None
    expected = 0.75 * x_BCHW[0, :, 0, -1] + 0.25 * fills.colour_BC11[0, :, 0, 0]
    torch.testing.assert_close(show(x_BCHW, grid_BHW2, fills)[0, :, 0, 0], expected)


# -- what is drawn -----------------------------------------------------------------------------------------------------


def test_random_draws_each_kind_about_equally_and_the_same_for_the_same_seed() -> None:
    one, again, other = (draw_fills("random", 4000, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    counts = Counter(one.kinds)
    assert set(counts) == set(SCORED_FILLS)
    assert all(abs(count - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5 for count in counts.values())
    assert one.kinds == again.kinds != other.kinds
    assert torch.equal(one.partner_B, again.partner_B) and torch.equal(one.colour_BC, again.colour_BC)
    assert 0 <= one.colour_BC.min() < 0.01 and 0.99 < one.colour_BC.max() <= 1


@pytest.mark.parametrize("num", [2, 3, 40])
def test_a_partner_is_another_image(num: int) -> None:
    for seed in range(20):
        partner_B = draw_fills("picture", num, torch.Generator().manual_seed(seed)).partner_B
        assert sorted(partner_B.tolist()) == list(range(num))
        assert not (partner_B == torch.arange(num)).any()


@pytest.mark.parametrize("name", FILL_NAMES)
def test_the_generator_is_used_alike_whatever_the_name(name: str) -> None:
    states = []
    for used in (name, "zeros"):
        generator = torch.Generator().manual_seed(0)
        drawn = draw_fills(used, 10, generator)
        assert used == "random" or drawn.kinds == (used,) * 10
        states.append(generator.get_state())
    assert torch.equal(*states)


def test_scores_are_taken_under_reflection_unless_old_runs_are_repeated() -> None:
    assert {name: fill_for_scoring(name) for name in FILL_NAMES} == {
        **dict.fromkeys(FILL_NAMES, "reflection"),
        "zeros": "zeros",
    }
