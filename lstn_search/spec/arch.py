"""The one description of a localization net: a flat tuple of primitive layers, and a head.

Cost, module, export, drawing and digest all read an `Arch`; nothing else stores shapes or counts. Two descriptions of
the same network are made equal on construction (see `Layer`), so equal networks have equal digests.
"""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from lstn_search.errors import ArchError, did_you_mean
from lstn_search.spec.reading import check_table, parse_json, read_text, short
from lstn_search.spec.warp_families import DEFAULT_WARP, WARP_FAMILIES

__all__ = ["SOFT_ARGMAX", "Act", "Arch", "Head", "Layer", "Norm"]

Norm = Literal["none", "conv-bn-act", "conv-act-bn"]
Act = Literal["none", "relu"]
Reading = Literal["soft-argmax"]

SOFT_ARGMAX: Reading = "soft-argmax"
"""The value of `Head.pool_to` for a head that reads where each map is high."""

FORMAT_VERSION = 1
MAX_SIZE = 65_536
"""Of channels, windows, widths and looks."""
MAX_LAYERS = 1_000


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Layer:
    """One convolution and what follows it, in this order:

        conv (with bias) -> [BN if conv-bn-act] -> [max-pool] -> [activation] -> [BN if conv-act-bn] -> [add the input]

    Pooling stands before the activation as in Tables 1 and 2 of the paper (a ReLU and a max-pool commute).
    """

    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    """Zero padding on each side, in pixels."""
    groups: int = 1
    """`groups` equal to the input channels makes a depthwise convolution."""
    norm: Norm = "none"
    act: Act = "relu"
    max_pool: int = 1
    """Window and stride of the max-pool; 1 means there is none."""
    skip: int = 0
    """The input of how many layers, up to this one, is added to its output; 0 means none."""

    def __post_init__(self) -> None:
        for name in ("out_channels", "kernel", "stride", "groups", "max_pool"):
            _check_int(f"layer {name}", getattr(self, name), minimum=1)
        for name in ("padding", "skip"):
            _check_int(f"layer {name}", getattr(self, name), minimum=0)
        _check_choice("layer norm", self.norm, get_args(Norm))
        _check_choice("layer act", self.act, get_args(Act))
        if self.padding >= self.kernel:
            raise ArchError(f"layer padding {self.padding} must be smaller than its kernel {self.kernel}")
        if self.out_channels % self.groups:
            raise ArchError(f"layer groups {self.groups} must divide out_channels {self.out_channels}")
        if self.act == "none" and self.norm == "conv-act-bn" and self.max_pool == 1:
            object.__setattr__(self, "norm", "conv-bn-act")  # without an activation the two placements are one network

    @property
    def keeps_size(self) -> bool:
        """Whether a map of any size comes out as large as it went in."""
        return self.stride == self.max_pool == 1 and 2 * self.padding == self.kernel - 1

    def to_dict(self) -> dict[str, Any]:
        """Every field, as JSON types; `skip` only where there is one, so that digests from before it stay."""
        fields = dataclasses.asdict(self)
        return fields if self.skip else {name: value for name, value in fields.items() if name != "skip"}


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Head:
    """From the last feature map to the parameters of a warp: read the map, Linear, ReLU, Linear."""

    hidden: int = 32
    """Width of the hidden layer; 0 means there is none: one Linear from the features to the parameters."""
    pool_to: int | Reading | None = None
    """How the map is read: None flattens it, as the paper does; a number average-pools it to pool_to x pool_to first;
    "soft-argmax" takes four numbers a channel: mean x, mean y and spread of the softmax over all positions, and the
    mean of the map."""
    warp: str = DEFAULT_WARP
    """The family of warps, by its name in `lstn_search.spec.warp_families`."""

    def __post_init__(self) -> None:
        _check_int("head hidden", self.hidden, minimum=0)
        if isinstance(self.pool_to, str):
            _check_choice("head pool_to", self.pool_to, get_args(Reading))
        elif self.pool_to is not None:
            _check_int("head pool_to", self.pool_to, minimum=1)
        _check_choice("head warp", self.warp, tuple(WARP_FAMILIES))


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Arch:
    """A localization net: image of `in_channels` x H x W in, a warp out."""

    layers: tuple[Layer, ...]
    head: Head = dataclasses.field(default_factory=Head)
    in_channels: int = 3
    look: int | None = None
    """A larger image is averaged to look x look pixels first; None: the net sees it as it is."""

    def __post_init__(self) -> None:
        _check_int("in_channels", self.in_channels, minimum=1)
        if self.look is not None:
            _check_int("look", self.look, minimum=1)
        if not isinstance(self.layers, tuple) or not all(isinstance(layer, Layer) for layer in self.layers):
            raise ArchError(f"layers must be a tuple of Layer, got {type(self.layers).__name__}")
        if not self.layers:
            raise ArchError("an architecture needs at least one layer, got none")
        if len(self.layers) > MAX_LAYERS:
            raise ArchError(f"an architecture has at most {MAX_LAYERS:,} layers, got {len(self.layers):,}")
        for number, (layer, channels) in enumerate(zip(self.layers, self.inputs, strict=True), start=1):
            if channels % layer.groups:
                raise ArchError(f"layer {number}: groups {layer.groups} must divide its {channels} input channels")
            if layer.skip:
                self._check_skip(number)

    def _check_skip(self, number: int) -> None:
        """Raise ArchError unless what layer `number` adds has the shape of its output, and no skip crosses another."""
        skip = self.layers[number - 1].skip
        start = number - skip
        inside = self.layers[max(start, 0) : number]
        what = f"layer {number}: skip {skip}"
        if start < 0:
            raise ArchError(f"{what} reaches further back than the first layer; use {number} or less")
        if self.inputs[start] != inside[-1].out_channels:
            raise ArchError(
                f"{what} adds {self.inputs[start]} channels to {inside[-1].out_channels}; make the two equal"
            )
        if not all(layer.keeps_size for layer in inside):
            raise ArchError(f"{what} needs layers that keep the map's size: stride 1, padding kernel // 2, no pooling")
        if any(layer.skip > depth for depth, layer in enumerate(inside, start=1)):
            raise ArchError(f"{what} begins within another skip; let one hold the other")

    @property
    def inputs(self) -> tuple[int, ...]:
        """The input channels of each layer."""
        return (self.in_channels, *(layer.out_channels for layer in self.layers[:-1]))

    def side(self, image_size: int) -> int:
        """Side, in pixels, of what the first layer sees of a square image of `image_size`."""
        return image_size if self.look is None else min(self.look, image_size)

    def is_same_at(self, *image_sizes: int) -> bool:
        """Whether it is one and the same network, with the same weights, at all these image sizes."""
        return len({self.side(image_size) for image_size in image_sizes}) <= 1

    # -- JSON ----------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Every field, as JSON types; `skip`, `warp`, `look` only where they are not the default: old digests stay."""
        head = dataclasses.asdict(self.head)
        if self.head.warp == DEFAULT_WARP:
            del head["warp"]
        return {
            "version": FORMAT_VERSION,
            "in_channels": self.in_channels,
            "layers": [layer.to_dict() for layer in self.layers],
            "head": head,
        } | ({} if self.look is None else {"look": self.look})

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces; the digest's input."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hex: the same in every process and on every machine."""
        return _digest(self)

    @classmethod
    def from_dict(cls, data: Any, *, where: str = "arch") -> "Arch":
        """Read what `to_dict` wrote; fields with a default may be left out.

        Raises ArchError, naming `where` and the path in it, on anything unknown or out of range.
        """
        known = ("version", "in_channels", "layers", "head", "look")
        table = check_table(data, where, known=known, needed=("layers",), error=ArchError)
        version = table.get("version", FORMAT_VERSION)
        if version != FORMAT_VERSION:
            raise ArchError(
                f"{where}: version {short(version)} is not {FORMAT_VERSION}: made by a newer release; update"
            )
        if not isinstance(table["layers"], list):
            raise ArchError(f"{where}: layers must be a list of tables, got {short(table['layers'])}")
        layers = tuple(_read(Layer, item, f"{where}: layers[{i}]") for i, item in enumerate(table["layers"]))
        head = _read(Head, table.get("head", {}), f"{where}: head")
        try:
            return cls(layers=layers, head=head, in_channels=table.get("in_channels", 3), look=table.get("look"))
        except ArchError as error:
            raise ArchError(f"{where}: {error}") from None

    @classmethod
    def from_json(cls, text: str, *, where: str = "arch") -> "Arch":
        """Read an architecture from JSON text."""
        try:
            data = parse_json(text)
        except ValueError as error:
            raise ArchError(f"{where}: not JSON ({error}); write it with Arch.to_json") from None
        return cls.from_dict(data, where=where)

    @classmethod
    def load(cls, path: str | Path) -> "Arch":
        """Read an architecture from a JSON file."""
        try:
            text = read_text(Path(path))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ArchError(f"{path}: cannot be read ({reason}); give the path of an arch.json") from None
        return cls.from_json(text, where=str(path))


_Part = TypeVar("_Part", Layer, Head)


@functools.lru_cache(maxsize=4096)
def _digest(arch: Arch) -> str:
    return hashlib.sha256(arch.to_json().encode()).hexdigest()


def _check_int(what: str, value: Any, *, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArchError(f"{what} must be a whole number, got {short(value)}")
    if not minimum <= value <= MAX_SIZE:
        bound = f"at least {minimum}" if value < minimum else f"at most {MAX_SIZE}"
        raise ArchError(f"{what} must be {bound}, got {short(value)}")


def _check_choice(what: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ArchError(f"{what} {short(value)} is unknown; {did_you_mean(str(value), known)}")


def _read(cls: type[_Part], data: Any, where: str) -> _Part:
    fields = dataclasses.fields(cls)
    known = tuple(field.name for field in fields)
    needed = tuple(
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )
    table = check_table(data, where, known=known, needed=needed, error=ArchError)
    try:
        return cls(**table)
    except ArchError as error:
        raise ArchError(f"{where}: {error}") from None
