"""The paper's cost tables computed again, each cell beside the printed one: Tables 1-3, 4 (its cost half), 5, 7 and 9.

What was printed, and a sentence for each cell that comes out differently, is data: `printed.toml`. What is computed
comes from the seed points of the `lstn` space through `lstn_search.spec.cost`, and from the backbones themselves.
"""

import dataclasses
import functools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, Literal

from lstn_search.errors import SettingError
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import Cost, LayerCost, cost
from lstn_search.spec.space import load_space

__all__ = ["TABLE_NUMBERS", "Cell", "PaperTable", "Row", "Summary", "compute_tables", "summarise"]

TABLE_NUMBERS = (1, 2, 3, 4, 5, 7, 9)
CLOSE_PERCENT = 0.5
"""A GFLOPs cell this near to the printed one is called close."""
LAYER_TABLE_IMAGE_SIZE = 224

Column = Literal["model", "filter", "output", "parameters", "gflops"]
Status = Literal["exact", "close", "explained", "open"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Cell:
    """One printed cell and what comes out for it."""

    column: Column
    printed: str
    computed: str
    """Written the way `printed` is, with as many digits."""
    difference: int | float
    """Computed less printed: a number of parameters, or GFLOPs at the printed digits; 0 where the cell is words."""
    note: str = ""
    """Why it differs; empty when it does not."""

    @property
    def status(self) -> Status:
        """Exact: the same at the printed digits. Close: GFLOPs within 0.5 %. Explained: the note says why."""
        if self.printed == self.computed:
            return "exact"
        if self.column == "gflops" and abs(self.percent) <= CLOSE_PERCENT:
            return "close"
        return "explained" if self.note else "open"

    @property
    def percent(self) -> float:
        """The difference in percent of a printed GFLOPs."""
        return 100 * self.difference / float(self.printed) if self.column == "gflops" else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        return {**dataclasses.asdict(self), "status": self.status}


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Row:
    """One row of a layer table, or one model with one localizer."""

    label: str
    """The kind of layer or the model, as printed."""
    localizer: str
    """A seed point's name, `none`, or empty in a layer table."""
    image_size: int
    cells: tuple[Cell, ...]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class PaperTable:
    """A table of the paper, printed and computed."""

    number: int
    title: str
    kind: Literal["layers", "models"]
    rows: tuple[Row, ...]

    @property
    def cells(self) -> Iterator[Cell]:
        """All cells, row by row."""
        return (cell for row in self.rows for cell in row.cells)

    @property
    def notes(self) -> tuple[str, ...]:
        """Each sentence once, in the order of the cells that carry it."""
        return tuple(dict.fromkeys(cell.note for cell in self.cells if cell.note))

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        rows = [
            {
                "label": row.label,
                "localizer": row.localizer,
                "image_size": row.image_size,
                "cells": [cell.to_dict() for cell in row.cells],
            }
            for row in self.rows
        ]
        return {"number": self.number, "title": self.title, "kind": self.kind, "rows": rows}


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Summary:
    """How many cells came out how; the four add up to `num_cells`."""

    num_cells: int
    num_exact: int
    num_close: int
    num_explained: int
    num_open: int


def compute_tables(numbers: Sequence[int] = TABLE_NUMBERS) -> tuple[PaperTable, ...]:
    """The tables with these numbers, in the paper's order; 4, 5 and 7 build their backbones (without memory).

    Raises SettingError on the number of a table that is not among `TABLE_NUMBERS`.
    """
    for number in numbers:
        if number not in TABLE_NUMBERS:
            known = ", ".join(map(str, TABLE_NUMBERS))
            raise SettingError(f"Table {number} holds no costs to compute; choose one of {known}")
    printed = _printed()
    tables = [_layer_table(data, printed) for data in printed["layers"] if data["table"] in numbers]
    tables += [_model_table(data, printed) for data in printed["models"] if data["table"] in numbers]
    return tuple(tables)


def summarise(tables: Sequence[PaperTable]) -> Summary:
    """Count the cells of `tables` by how they came out."""
    statuses = [cell.status for table in tables for cell in table.cells]
    return Summary(
        num_cells=len(statuses),
        num_exact=statuses.count("exact"),
        num_close=statuses.count("close"),
        num_explained=statuses.count("explained"),
        num_open=statuses.count("open"),
    )


# -- Tables 1, 2 and 3 -------------------------------------------------------------------------------------------------


def _layer_table(data: Mapping[str, Any], printed: Mapping[str, Any]) -> PaperTable:
    number = data["table"]
    computed = [
        row
        for row in _localizer_cost(data["arch"], LAYER_TABLE_IMAGE_SIZE).layers
        if row.number and row.kind != "linear"
    ]
    assert len(computed) == len(data["rows"]), f"Table {number}: {len(computed)} layers for {len(data['rows'])} rows"
    rows = []
    for position, (layer, (label, *cells)) in enumerate(zip(computed, data["rows"], strict=True), start=1):
        texts = (_filter_shape(layer), _output_shape(layer), _params_text(layer))
        columns: tuple[Column, ...] = ("filter", "output", "parameters")
        notes = [_note(printed, number, f"{position} {column}") for column in columns]
        rows.append(
            Row(
                label=label,
                localizer="",
                image_size=LAYER_TABLE_IMAGE_SIZE,
                cells=tuple(map(_cell, columns, cells, texts, notes)),
            )
        )
    total = str(sum(layer.params for layer in computed))
    last = _cell("parameters", data["total"], total, _note(printed, number, "total parameters"))
    rows.append(Row(label="Total", localizer="", image_size=LAYER_TABLE_IMAGE_SIZE, cells=(last,)))
    return PaperTable(number=number, title=data["title"], kind="layers", rows=tuple(rows))


def _filter_shape(layer: LayerCost) -> str:
    in_channels, out_channels = layer.in_shape[0], layer.out_shape[0]
    if layer.kind == "max-pool":
        kernel = layer.in_shape[1] // layer.out_shape[1]
    else:
        weights = layer.params - layer.norm_params - out_channels
        kernel = round((weights / (in_channels * out_channels)) ** 0.5)
    return f"{kernel}x{kernel}x{in_channels}x{out_channels}"


def _output_shape(layer: LayerCost) -> str:
    channels, height, width = layer.out_shape
    return f"{height}x{width}x{channels}"


def _params_text(layer: LayerCost) -> str:
    return f"{layer.params - layer.norm_params}" + (f"+{layer.norm_params}" if layer.norm_params else "")


# -- Tables 4, 5, 7 and 9 ----------------------------------------------------------------------------------------------


def _model_table(data: Mapping[str, Any], printed: Mapping[str, Any]) -> PaperTable:
    number = data["table"]
    rows = []
    for model in data["rows"]:
        for localizer, params, gflops in zip(data["localizers"], model["params"], model["gflops"], strict=True):
            num_params = num_flops = 0
            if "backbone" in model:
                fixed_pool = model["backbone"].startswith("resnet") and localizer == "none"
                num_params, num_flops = _backbone_cost(model["backbone"], data["num_classes"], model["px"], fixed_pool)
            if localizer != "none":
                added = _localizer_cost(localizer, model["px"])
                num_params, num_flops = num_params + added.params, num_flops + added.flops
            digits = len(gflops.partition(".")[2])
            texts: dict[Column, tuple[str, str]] = {
                "parameters": (str(params), str(num_params)),
                "gflops": (gflops, f"{num_flops / 1e9:.{digits}f}"),
            }
            if "is" in model:
                texts = {"model": (model["model"], model["is"]), **texts}
            cells = [
                _cell(column, *pair, _note(printed, number, f"{model['model']} {localizer} {column}"))
                for column, pair in texts.items()
            ]
            rows.append(Row(label=model["model"], localizer=localizer, image_size=model["px"], cells=tuple(cells)))
    return PaperTable(number=number, title=data["title"], kind="models", rows=tuple(rows))


@functools.lru_cache(maxsize=64)
def _backbone_cost(name: str, num_classes: int, image_size: int, fixed_pool: bool) -> tuple[int, int]:
    """Parameters and FLOPs of a backbone as the authors built it, counted on the meta device.

    Their plain ResNets end in a fixed 7x7 average pool, those behind an STN in an adaptive one as torchvision's do;
    the counter of the time charges 1 FLOP an output for the first and 50 for the second: 1e-4 GFLOPs.
    """
    import torch
    from torch import nn
    from torchvision import models

    from lstn_search.nets.backbones import build_backbone
    from lstn_search.paper.flops import count_flops, count_params

    with torch.device("meta"):
        if name == "densenet264":
            model: nn.Module = models.DenseNet(32, (6, 12, 64, 48), 64, num_classes=num_classes)
        else:
            model = build_backbone(name, num_classes=num_classes, image_size=image_size)
    if fixed_pool:
        model.avgpool = nn.AvgPool2d(7)
    return count_params(model), count_flops(model, image_size=image_size)


# -- common ------------------------------------------------------------------------------------------------------------


@functools.cache
def _printed() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("printed.toml").read_text(encoding="utf-8"))


@functools.cache
def _seeds() -> Mapping[str, Arch]:
    return load_space("lstn").seeds


@functools.lru_cache(maxsize=64)
def _localizer_cost(name: str, image_size: int) -> Cost:
    return cost(_seeds()[name], image_size)


def _note(printed: Mapping[str, Any], table: int, cell: str) -> str:
    return next((note["text"] for note in printed["notes"] if note["table"] == table and cell in note["cells"]), "")


def _cell(column: Column, printed: str, computed: str, note: str) -> Cell:
    difference: int | float = 0
    if column == "parameters":
        difference = _sum(computed) - _sum(printed)
    elif column == "gflops":
        difference = round(float(computed) - float(printed), 6)
    return Cell(column=column, printed=printed, computed=computed, difference=difference, note=note)


def _sum(text: str) -> int:
    """The number of parameters in "1184" or "584+16"."""
    return sum(map(int, text.split("+")))
