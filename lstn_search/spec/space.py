"""Search spaces: what may vary, and the only way from a set of choices to an architecture and back.

What each name means, and how choices become layers: choices.py and blocks.py. The moves between neighbours: moves.py.
"""

import dataclasses
import hashlib
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lstn_search.errors import ArchError, SettingError, SpaceError, did_you_mean
from lstn_search.spec.arch import Arch, Layer
from lstn_search.spec.blocks import KINDS, asked, block_keys, block_layers, read_block
from lstn_search.spec.choices import FLATTEN, IMAGE, IMAGE_CHANNELS, Choices, Value, expand, field_of
from lstn_search.spec.ladder import DEFAULT_LADDER, Ladder
from lstn_search.spec.names import checked_label
from lstn_search.spec.reading import short
from lstn_search.spec.space_file import check_space, read_toml

__all__ = ["Choices", "Space", "Suggest", "Value", "load_space", "resolve_arch", "space_folder", "space_names"]

Suggest = Callable[[str, tuple[Value, ...]], Value]
"""Given a choice's name and its possible values, answers with one of them."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Space:
    """What may vary, and the seed points to start from. Make one with `load_space` or `Space.from_dict`."""

    name: str
    values: Mapping[str, tuple[Value, ...]]
    """Possible values under each name; all units share the lists under `unit.*`."""
    description: str = ""
    seeds: Mapping[str, Arch] = dataclasses.field(default_factory=dict)
    """Architectures to start from; they need not be inside the space (see `encode`)."""
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Where each seed point comes from."""
    ladder: Ladder = DEFAULT_LADDER
    """How far a search trains the networks, unless it is told otherwise."""

    @classmethod
    def from_dict(cls, data: Any, *, name: str, where: str | None = None) -> "Space":
        """A space from the tables of a space file. Raises SpaceError, naming `where` and the path in it."""
        try:
            name = checked_label(name, "space")
        except SettingError as error:
            raise SpaceError(f"{where or name}: {error}") from None
        description, values, seeds, sources, ladder = check_space(data, where or name)
        return cls(
            name=name,
            values=values,
            description=description,
            seeds=seeds,
            sources=sources,
            ladder=ladder or DEFAULT_LADDER,
        )

    @property
    def digest(self) -> str:
        """SHA-256, in hex, over the choices and the seed points: equal digests search the same space."""
        content = {"values": dict(self.values), "seeds": {name: arch.digest for name, arch in self.seeds.items()}}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def for_trials(self, *, image_size: int, trial_size: int) -> "Space":
        """The space that a search asks, without looks that `trial_size` pixels cannot show.

        A larger look would be trained as the network of `trial_size`, and only cost more where it is deployed. Where
        trials train at the image size, the looks that it does not reach are the image as it is. A space that lists no
        look within `trial_size` keeps its list.
        """
        looks = self.values.get("look", ())
        side = min(trial_size, image_size - 1) if IMAGE in looks else trial_size
        kept = tuple(look for look in looks if (trial_size >= image_size if look == IMAGE else int(look) <= side))
        return dataclasses.replace(self, values={**self.values, "look": kept}) if kept else self

    # -- choices -> architecture and back --------------------------------------------------------------------------

    def walk(self, suggest: Suggest) -> Choices:
        """Ask `suggest` for every choice that matters, one after the other, and return the answers."""
        choices: Choices = {}

        def ask(name: str, field: str) -> Value:
            choices[name] = suggest(name, self.values[field])
            return choices[name]

        def ask_block(block: str, group: str) -> None:
            answers = {"kind": ask(f"{block}.kind", f"{group}.kind")}
            for key in asked(block_keys(str(answers["kind"]), group), answers):
                answers[key] = ask(f"{block}.{key}", f"{group}.{key}")

        if "look" in self.values:
            ask("look", "look")
        ask("norm", "norm")
        ask_block("stem", "stem")
        for number in range(1, int(ask("units", "units")) + 1):
            ask_block(f"unit{number}", "unit")
        ask("tail.width", "tail.width")
        ask("head.pool_to", "head.pool_to")
        ask("head.hidden", "head.hidden")
        if "head.warp" in self.values:
            ask("head.warp", "head.warp")
        return choices

    def suggest(self, trial: Any) -> Arch:
        """The architecture that an Optuna trial asks for, choice by choice: for a study of your own.

        Whether it can be built at your image size, and what it costs, is `lstn_search.cost`'s to say.
        """
        return expand(self.walk(trial.suggest_categorical))

    def expand(self, choices: Mapping[str, Value]) -> Arch:
        """The architecture that `choices` describe."""
        return expand(choices)

    def sample(self, rng: random.Random) -> Choices:
        """Random choices, each uniform over its values."""
        return self.walk(lambda name, values: rng.choice(values))

    def count(self) -> int:
        """How many sets of choices there are; whether each can be built depends on the image size."""
        sizes = {field: len(values) for field, values in self.values.items()}

        def blocks(group: str) -> int:
            return sum(
                math.prod(sizes[f"{group}.{key}"] for key in asked(keys, {"kernel": kernel}) if key != "kernel")
                for keys in (block_keys(str(kind), group) for kind in self.values[f"{group}.kind"])
                for kernel in self.values[f"{group}.kernel"]
            )

        bodies: int = sum(blocks("unit") ** int(number) for number in self.values["units"])
        heads = sizes["tail.width"] * sizes["head.pool_to"] * sizes["head.hidden"] * sizes.get("head.warp", 1)
        return sizes.get("look", 1) * sizes["norm"] * blocks("stem") * bodies * heads

    def encode(self, arch: Arch) -> Choices | None:
        """Choices that expand to `arch`, or None when it is outside the space."""
        if arch.in_channels != IMAGE_CHANNELS:
            return None
        fixed: Choices = {
            "norm": arch.layers[0].norm,
            "head.pool_to": FLATTEN if arch.head.pool_to is None else arch.head.pool_to,
            "head.hidden": arch.head.hidden,
        }
        if "head.warp" in self.values:
            fixed["head.warp"] = arch.head.warp
        if "look" in self.values:
            fixed["look"] = IMAGE if arch.look is None else arch.look
        readings = (fixed | body for body in self._parse(arch.layers, IMAGE_CHANNELS, number=0))
        found = next((choices for choices in readings if self._holds(choices) and expand(choices) == arch), None)
        return None if found is None else self.walk(lambda name, _: found[name])

    def relative(self, arch: Arch) -> Choices | None:
        """Choices of `arch`, or else of its layers at the largest look that the space lists; None: outside either way.

        So a search can breed from a seed point whose look its trials cannot show.
        """
        looks = [int(look) for look in self.values.get("look", ()) if look != IMAGE]
        return self.encode(arch) or (self.encode(dataclasses.replace(arch, look=max(looks))) if looks else None)

    def _parse(self, layers: tuple[Layer, ...], channels: int, *, number: int) -> Iterator[Choices]:
        """Every reading of `layers` as the stem (`number` 0) or unit `number`, what follows it, and the tail."""
        if number > 0:
            if not layers:
                yield {"units": number - 1, "tail.width": 0}
            if len(layers) == 1:
                yield {"units": number - 1, "tail.width": layers[0].out_channels}
        group = "unit" if number else "stem"
        block = f"unit{number}" if number else "stem"
        for kind in self.values[f"{group}.kind"]:
            length = len(KINDS[str(kind)].parts)
            here, behind = layers[:length], layers[length:]
            if len(here) < length:
                continue
            read = read_block(str(kind), group, here)
            named: Choices = {f"{block}.{key}": value for key, value in read.items()}
            if self._holds(named) and block_layers(read, channels, here[0].norm) == list(here):
                for rest in self._parse(behind, here[-1].out_channels, number=number + 1):
                    yield {**named, **rest}

    def _holds(self, choices: Mapping[str, Value]) -> bool:
        """Whether every value is one the space lists under its name."""
        return all(value in self.values[field_of(name)] for name, value in choices.items())


def space_folder() -> Path:
    """The folder of the named spaces: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "search_spaces"
    return installed if installed.is_dir() else package.parent / "search_spaces"


def space_names() -> list[str]:
    """The named spaces, sorted."""
    return sorted(path.stem for path in space_folder().glob("*.toml"))


def load_space(name_or_path: str | Path) -> Space:
    """A named space, or the one in a TOML file.

    Raises SpaceError: an unknown name, an unreadable file, or a mistake in it.
    """
    text = str(name_or_path)
    path = Path(text)
    if text in space_names():
        path = space_folder() / f"{text}.toml"
    elif path.suffix != ".toml" and not path.is_file():
        raise SpaceError(
            f"search space {short(text)} is unknown; {did_you_mean(text, space_names())} (or give a .toml file)"
        )
    return Space.from_dict(read_toml(path), name=path.stem, where=str(path))


def resolve_arch(text: str, space: Space) -> Arch:
    """The architecture a user names: a seed point of `space`, or the path of an arch.json.

    Raises ArchError: an unknown name, an unreadable file, or a mistake in it.
    """
    if text in space.seeds:
        return space.seeds[text]
    if text.endswith(".json") or Path(text).is_file():
        return Arch.load(text)
    raise ArchError(f"architecture {short(text)} is unknown; {did_you_mean(text, space.seeds)} (or give an arch.json)")
