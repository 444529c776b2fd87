"""The families of warps a localization net can say, one row each: what its last layer's numbers mean.

A row is theta, the 2 x 3 matrix that takes an output point (x, y, 1) to the input point it shows, in [-1, 1]
coordinates. Each entry is one of the family's parameters, a parameter with a minus, or 0. Cost, module, exported file
and search space read this table and nothing else.
"""

import dataclasses

__all__ = ["DEFAULT_WARP", "WARP_FAMILIES", "WarpFamily"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class WarpFamily:
    """Warps whose theta is made of a few parameters."""

    entries: tuple[str, ...]
    """The six entries of theta, row by row, such as `a`, `-b` and `0`."""
    params: tuple[str, ...]
    """Names of the parameters, in the order of the last layer's outputs: that of their first entries."""
    identity: tuple[float, ...]
    """The parameters that change nothing."""

    @classmethod
    def parse(cls, theta: str) -> "WarpFamily":
        """The family whose theta is written as two rows, such as `a -b x, b a y`."""
        entries = tuple(theta.replace(",", "").split())
        params = tuple(dict.fromkeys(entry.removeprefix("-") for entry in entries if entry != "0"))
        identity = tuple(float(name in (entries[0], entries[4])) for name in params)
        return cls(entries=entries, params=params, identity=identity)


DEFAULT_WARP = "affine"
"""What a description without a family means."""

WARP_FAMILIES = {
    "affine": WarpFamily.parse("a b x, c d y"),
    "similarity": WarpFamily.parse("a -b x, b a y"),
    "crop": WarpFamily.parse("s 0 x, 0 s y"),
}
