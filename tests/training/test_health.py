"""Health: planted thetas get their names, and the facts are those of explicit arithmetic."""

import itertools
import math
import statistics

import pytest
import torch

from lstn_search.data.views import View
from lstn_search.nets.warps import invert
from lstn_search.training.health import examine


def warps(num: int = 64) -> torch.Tensor:
    return invert(View().draw(num, torch.Generator().manual_seed(0)))


def constant(*theta: float, num: int = 64, noise: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.tensor(theta).view(1, 2, 3) + noise * torch.randn(num, 2, 3, generator=generator)


def with_one(value: float, *index: int) -> torch.Tensor:
    theta_N23 = warps()
    theta_N23[index] = value
    return theta_N23


@pytest.mark.parametrize(
    ("theta_N23", "verdict"),
    [
        (warps(), "alive"),
        (constant(1, 0, 0, 0, 1, 0, noise=0.05), "alive"),
        (constant(-1, 0, 0, 0, 1, 0, noise=0.05), "alive"),  # mirrored, which the determinant says
        (constant(1, 0, 0, 0, 1, 0), "inert"),
        (constant(0.7, 0.2, 0.1, -0.2, 0.7, 0.0, noise=0.01), "inert"),
        (warps(1), "inert"),  # of one image nothing else can be said
        (constant(0.01, 0, 0, 0, 0.01, 0, noise=0.01), "collapsed"),  # onto a point
        (constant(1, 0, 0, 0, 0.001, 0), "collapsed"),  # onto a line
        (constant(6, 0, 0, 0, 6, 0, noise=0.5), "collapsed"),  # the image is a speck
        (constant(0.5, 0, 1.4, 0, 0.5, 0, noise=0.05), "collapsed"),  # beside the image
        (constant(*[math.nan] * 6), "collapsed"),
        (with_one(math.nan, 3, 0, 2), "collapsed"),
        (with_one(math.inf, 3, 1, 2), "collapsed"),
        (with_one(-math.inf, 3, 0, 0), "collapsed"),
        (constant(1e30, 0, 0, 0, 1e30, 0, noise=1e30), "collapsed"),
    ],
)
def test_thetas_get_their_name(theta_N23: torch.Tensor, verdict: str) -> None:
    assert examine(theta_N23).verdict == verdict


def test_the_facts_are_those_of_explicit_arithmetic() -> None:
    theta_N23 = 1.2 * warps(7)
    rows = theta_N23.flatten(1).tolist()
    health = examine(theta_N23)

    assert health.spread == pytest.approx(statistics.mean(map(statistics.pstdev, zip(*rows, strict=True))))
    determinants = [a * e - b * d for a, b, _, d, e, _ in rows]
    assert health.determinant == pytest.approx(statistics.mean(determinants))
    assert health.scale == pytest.approx(statistics.mean(math.sqrt(abs(value)) for value in determinants))
    points = [(2 * i + 1) / 16 - 1 for i in range(16)]  # centres of 16 x 16 pixels
    outside = [
        max(abs(a * x + b * y + c), abs(d * x + e * y + f)) > 1
        for a, b, c, d, e, f in rows
        for x, y in itertools.product(points, points)
    ]
    assert 0.05 < health.out_of_frame == pytest.approx(statistics.mean(outside))


def test_facts_of_known_warps() -> None:
    identity = examine(constant(1, 0, 0, 0, 1, 0))
    assert (identity.spread, identity.out_of_frame, identity.scale, identity.determinant) == (0, 0, 1, 1)
    assert examine(constant(2, 0, 0, 0, 2, 0)).out_of_frame == 0.75
    mirrored = examine(constant(-0.5, 0, 0, 0, 0.5, 0))
    assert (mirrored.scale, mirrored.determinant) == (0.5, -0.25)


def test_facts_of_finite_thetas_are_finite_however_large() -> None:
    facts = examine(constant(1e30, 0, 0, 0, 1e30, 0, noise=1e30)).facts()
    assert all(math.isfinite(value) for value in facts.values())
