"""Arch -> the source of model.py: the localization net layer by layer, and the spatial transformer around it.

The text is made from the description, not from the torch module (`Residual` and `SoftArgmax` alone are copied), and is
as ruff would format it at 88 columns (its default) and at any wider setting: what fits is on one line, what does not
has one item a line and a trailing comma.
"""

import inspect
import textwrap
from collections.abc import Container, Iterable, Mapping, Sequence

from lstn_search.nets.localizer import Residual, SoftArgmax
from lstn_search.shipping._wrapper import IMPORTS, RESIZE, TRANSFORMER, WEIGHTS
from lstn_search.spec.arch import SOFT_ARGMAX, Arch
from lstn_search.spec.cost import Cost, cost
from lstn_search.spec.operations import CONV_DEFAULTS, Operation, arch_operations
from lstn_search.spec.warp_families import WARP_FAMILIES, WarpFamily

__all__ = ["model_code"]

WIDTH = 88
INDENT = " " * 12
"""Of the modules in a Sequential."""
HELPER_USES = 3
"""A run of modules such as convolution, batch norm, ReLU gets a helper function when it occurs this often."""


def model_code(
    arch: Arch,
    image_size: int,
    *,
    title: str,
    facts: Mapping[str, object],
    mean: Sequence[float],
    std: Sequence[float],
) -> str:
    """The source of model.py for a localizer of `arch` that was trained on square images of `image_size` pixels.

    `title` and `facts` (dataset, accuracy, ...) are for the docstring. `mean` and `std` are of pixel values in [0, 1],
    one number a channel. The parameters have the names of `Localizer`'s. Raises ArchError when `arch` does not fit.
    """
    assert len(mean) == len(std) == arch.in_channels
    total = cost(arch, image_size)
    made_by: dict[Recipe, list[Modules]] = {}
    for modules in _modules(arch):
        made_by.setdefault(_recipe(modules), []).append(modules)
    helpers = {recipe: layers for recipe, layers in made_by.items() if len(recipe) > 1 and len(layers) >= HELPER_USES}
    constants = [f"IMAGE_SIZE = {image_size}", _tuple("MEAN", mean), _tuple("STD", std), WEIGHTS]
    top = "\n\n".join([_docstring(arch, total, title, facts), IMPORTS, "\n".join(constants)])
    copied = [Residual] * any(layer.skip for layer in arch.layers) + [SoftArgmax] * (arch.head.pool_to == SOFT_ARGMAX)
    definitions = [inspect.getsource(module).rstrip() for module in copied]
    definitions += [_helper(recipe, layers) for recipe, layers in helpers.items()]
    transformer = TRANSFORMER.replace("RESIZE", RESIZE if arch.look is None else "")
    return "\n\n\n".join([top, *definitions, _localization_net(arch, total, helpers), transformer])


# -- docstring and constants -------------------------------------------------------------------------------------------


def _docstring(arch: Arch, total: Cost, title: str, facts: Mapping[str, object]) -> str:
    size, channels = f"{total.image_size} x {total.image_size}", arch.in_channels
    side = arch.side(total.image_size)
    copy = f"resized to {size} (bilinear, antialiased, aspect ratio not kept)"
    if arch.look is not None:
        copy = f"averaged to {side} x {side} (aspect ratio not kept)"
    about = (
        f"The localization net was trained on images of {size} pixels. Images of another size are warped at their own "
        f"size, by what the net sees in a copy {copy}."
    )
    rows = {
        "parameters": f"{total.params:,}",
        "MACs": f"{total.macs:,} at {size}",
        "GFLOPs": f"{total.gflops:.6f} at {size}, without grid generator and sampler",
        "architecture": arch.digest[:12],
        **facts,
    }
    names = {_plain(name): _plain(value) for name, value in rows.items()}
    column = max(len(name) for name in names) + 2
    table = [_fill(value, first=f"    {name:<{column}}", rest=" " * (column + 4)) for name, value in names.items()]
    return "\n".join(
        [
            '"""' + _fill(f"{_plain(title)}: a spatial transformer and its localization net."),
            "",
            "    transformer = load()                # weights.pt beside this file",
            f"    images = normalize(pixels)          # B x {channels} x H x W, from 0 to 255",
            "    warped = transformer(images)        # the same shape; zero is the mean colour",
            "    theta = transformer.theta(images)   # B x 2 x 3, the affine maps",
            "",
            _fill(about),
            "",
            *table,
            '"""',
        ]
    )


def _plain(value: object) -> str:
    """`value` as text that may stand in a docstring: one line, printable, no double quotes, backslashes doubled."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    text = "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))
    return text.replace("\\", "\\\\").replace('"', "'")


def _fill(text: str, *, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _tuple(name: str, values: Iterable[float]) -> str:
    items = [repr(float(value)) for value in values]
    return f"{name} = ({items[0]},)" if len(items) == 1 else _wrap("", f"{name} = (", items, ")")


# -- the localization net ----------------------------------------------------------------------------------------------

Modules = tuple[Operation, ...]
"""The operations of a layer but for the sum that closes a skip."""

Recipe = tuple[str, ...]
"""Their names: ("conv" or "depthwise", "bn", "pool2", "relu")."""


def _modules(arch: Arch) -> list[Modules]:
    return [tuple(op for op in layer if op.module != Residual.__name__) for layer in arch_operations(arch)]


def _recipe(modules: Modules) -> Recipe:
    return tuple(module.name for module in modules)


def _parameters(conv: Operation) -> dict[str, str]:
    """The arguments of a convolution that are parameters of its helper, and what they are called there."""
    names = {name: name for name in (*dict(conv.args), *CONV_DEFAULTS)}
    same = ("in_channels", "out_channels", "groups") if conv.name == "depthwise" else ()
    return names | dict.fromkeys(same, "channels")


def _arguments(module: Operation, names: Mapping[str, str], options: Iterable[str]) -> list[str]:
    """The arguments that make `module`: those in `names` by their names, the others by their values."""
    values: dict[str, object] = {**dict(module.args), **dict(module.options), **names}
    return [str(values[name]) for name, _ in module.args] + [f"{name}={values[name]}" for name in options]


def _call(module: Operation, names: Mapping[str, str]) -> str:
    return f"nn.{module.module}({', '.join(_arguments(module, names, dict(module.options)))})"


def _helper(recipe: Recipe, layers: Sequence[Modules]) -> str:
    """A function that makes the modules of `recipe`, with the options that `layers` need."""
    conv, *behind = layers[0]
    names = _parameters(conv)
    used = {name for first, *_ in layers for name, _ in first.options}
    options = [name for name in CONV_DEFAULTS if name in used]
    signature = [f"{name}: int" for name in dict.fromkeys(names[name] for name, _ in conv.args)]
    signature += [f"{name}: int = {CONV_DEFAULTS[name]}" for name in options if names[name] == name]
    sentence = ", ".join(module.noun for module in layers[0])
    return "\n".join(
        [
            _wrap("", f"def {'_'.join(recipe)}(", signature, ") -> list[nn.Module]:"),
            f'    """{sentence[0].upper()}{sentence[1:]}."""',
            _wrap("    ", f"conv = nn.{conv.module}(", _arguments(conv, names, options), ")"),
            _wrap("    ", "return [", ["conv", *(_call(module, names) for module in behind)], "]"),
        ]
    )


def _helper_call(recipe: Recipe, conv: Operation) -> str:
    names = _parameters(conv)
    values = {names[name]: str(value) for name, value in conv.args}
    options = [f"{name}={value}" for name, value in conv.options if names[name] == name]
    return f"*{'_'.join(recipe)}({', '.join([*values.values(), *options])})"


def _localization_net(arch: Arch, total: Cost, helpers: Container[Recipe]) -> str:
    side = arch.side(total.image_size)
    look = f"        images = F.adaptive_avg_pool2d(images, {side})  # as it is at {side} x {side}"
    size = "H x W" if arch.look is not None else f"{side} x {side}"
    return "\n".join(
        [
            "class LocalizationNet(nn.Module):",
            f'    """Images B x {arch.in_channels} x {size} -> affine parameters B x 2 x 3."""',
            "",
            "    def __init__(self) -> None:",
            "        super().__init__()",
            "        self.features = nn.Sequential(",
            *_feature_lines(arch, total, helpers),
            "        )",
            "        self.head = nn.Sequential(",
            *_head_lines(arch, total),
            "        )",
            f"        self.last = nn.Linear({total.layers[-1].in_shape[0]}, {total.layers[-1].out_shape[0]})",
            "",
            "    def forward(self, images: torch.Tensor) -> torch.Tensor:",
            *[look] * (arch.look is not None),
            "        hidden = self.head(self.features(images))",
            "        with torch.autocast(images.device.type, enabled=False):  # always float32",
            *_matrix_lines(WARP_FAMILIES[arch.head.warp]),
        ]
    )


def _matrix_lines(family: WarpFamily) -> list[str]:
    """From the last layer's outputs to theta."""
    if family.entries == family.params:
        return ["            return self.last(hidden.float()).view(-1, 2, 3)"]
    names = ", ".join(entry.replace("0", "zero") for entry in family.entries)
    zero = f"            zero = torch.zeros_like({family.params[0]})"
    return [
        f"            {', '.join(family.params)} = self.last(hidden.float()).unbind(1)",
        *[zero] * ("0" in family.entries),
        f"            return torch.stack([{names}], dim=1).view(-1, 2, 3)",
    ]


def _feature_lines(arch: Arch, total: Cost, helpers: Container[Recipe]) -> list[str]:
    """One line a layer, or one a module where it has no helper, each with the shape behind it."""
    shapes: dict[tuple[int, str], str] = {(row.number, row.kind): _shape(row.out_shape) for row in total.layers}
    last_shapes = {row.number: _shape(row.out_shape) for row in total.layers}
    opened_by = [number - layer.skip for number, layer in enumerate(arch.layers, start=1) if layer.skip]
    layers = _modules(arch)
    lines: list[str] = []
    number, indent = 0, INDENT
    for heading, length in _blocks(arch):
        lines += [f"{indent}# {heading}"] * bool(heading)
        for modules in layers[number : number + length]:
            for _ in range(opened_by.count(number)):
                lines.append(f"{indent}Residual(")
                indent += "    "
            number += 1
            recipe = _recipe(modules)
            if recipe in helpers:
                lines += _item(_helper_call(recipe, modules[0]), last_shapes[number], indent)
            else:
                for module in modules:
                    lines += _item(_call(module, {}), shapes.get((number, module.kind), ""), indent)
            if arch.layers[number - 1].skip:
                indent = indent[4:]
                lines.append(f"{indent}),")
    return lines


def _head_lines(arch: Arch, total: Cost) -> list[str]:
    head = {row.name: row for row in total.layers if row.number == 0}
    features = next(row.in_shape[0] for row in head.values() if row.kind == "linear")
    lines: list[str] = []
    if "head.soft-argmax" in head:
        lines += _item("SoftArgmax()", str(features))
    else:
        if "head.pool" in head:
            lines += _item(f"nn.AdaptiveAvgPool2d({arch.head.pool_to})", _shape(head["head.pool"].out_shape))
        lines += _item("nn.Flatten()", str(features))
    if "head.hidden" in head:
        lines += _item(f"nn.Linear({features}, {arch.head.hidden})") + _item("nn.ReLU()")
    return lines


def _blocks(arch: Arch) -> list[tuple[str, int]]:
    """The layers in groups: (heading, how many). Without units or separable pairs, one group without a heading."""
    blocks: list[tuple[str, int]] = []
    rest, inputs = list(arch.layers), arch.inputs
    while rest:
        here = inputs[-len(rest)]
        dense = [layer.kernel if layer.groups == 1 else 0 for layer in rest[:3]]
        kernel = f"{rest[0].kernel}x{rest[0].kernel}"
        if len(dense) == 3 and dense[0] == dense[2] == 1 < dense[1] and rest[0].out_channels == rest[1].out_channels:
            block, length = f"decoder, {dense[1]}x{dense[1]}, encoder", 3
        elif len(rest) > 1 and rest[0].groups == here > 1 and dense[1] == 1:
            block, length = f"depthwise {kernel}, 1x1", 2
        else:
            block, length = kernel, 1
        blocks.append((block, length))
        rest = rest[length:]
    if all(length == 1 for _, length in blocks):
        return [("", len(arch.layers))]
    names = [f"unit {number}" for number in range(1, len(blocks) + 1)]
    if blocks[0][1] < 3:
        names = ["stem", *names]
    if blocks[-1] == ("1x1", 1):
        names[len(blocks) - 1] = "tail"
    return [(f"{name}: {block}", length) for name, (block, length) in zip(names, blocks, strict=False)]


def _shape(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


# -- formatting --------------------------------------------------------------------------------------------------------


def _item(code: str, comment: str = "", indent: str = INDENT) -> list[str]:
    """`code` as an item of a Sequential; a comment that does not fit beside it goes above it."""
    line = f"{indent}{code},"
    if not comment:
        return [line]
    beside = f"{line}  # {comment}"
    return [beside] if len(beside) <= WIDTH else [f"{indent}# {comment}", line]


def _wrap(indent: str, head: str, items: Sequence[str], tail: str) -> str:
    """On one line if it fits, else one item a line."""
    line = f"{indent}{head}{', '.join(items)}{tail}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{indent}{head}", *(f"{indent}    {item}," for item in items), f"{indent}{tail}"])
