"""What a transformer does to images, as facts to be drawn. No torch here."""

import dataclasses

import numpy as np
import numpy.typing as npt

__all__ = ["BeforeAfterInfo", "Guess", "Pixels", "Point", "ShownImage", "Sighting"]

Pixels = npt.NDArray[np.uint8]
"""Height x width x 3."""
Point = tuple[float, float]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Guess:
    """The classifier's first choice."""

    label: str
    probability: float
    """Softmax, 0 to 1."""
    is_right: bool | None
    """None where the truth is not known."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Sighting:
    """One view of an image, before and after the transformer."""

    input_HWC: Pixels
    output_HWC: Pixels
    """What the classifier sees, of the same size."""
    frame: tuple[Point, ...]
    """Where the output's corners lie in the input, as (x, y) in [-1, 1]; from the upper left clockwise."""
    without: Guess
    """Of the same classifier on the input as it is."""
    guess: Guess
    """Of the classifier on the output."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class ShownImage:
    """An image under several views."""

    name: str
    """Its class, or its file where the class is not known."""
    sightings: tuple[Sighting, ...]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class BeforeAfterInfo:
    """Everything a picture shows."""

    title: str
    caption: str
    """When in the training this is; empty: at its end."""
    views: tuple[str, ...]
    """The name of each column."""
    images: tuple[ShownImage, ...]

    @property
    def sightings(self) -> list[Sighting]:
        """All of them, image by image."""
        return [sighting for image in self.images for sighting in image.sightings]

    @property
    def num_right(self) -> tuple[int, int] | None:
        """Sightings the classifier has right (without the warp, with it); None where the truth is not known."""
        shown = self.sightings
        if any(sighting.guess.is_right is None for sighting in shown):
            return None
        return sum(bool(s.without.is_right) for s in shown), sum(bool(s.guess.is_right) for s in shown)

    @property
    def reach(self) -> float:
        """How far the frames reach from the middle of the input, along either axis; 1 is the image's edge."""
        return max(abs(value) for sighting in self.sightings for point in sighting.frame for value in point)
