"""The paper's tables come out as printed, and every cell that does not has a sentence that is true."""

import json
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from lstn_search.cli import main
from lstn_search.errors import SettingError
from lstn_search.nets.paper_efficientnet import IMAGE_SIZES_PX, PaperEfficientNet
from lstn_search.paper import tables as paper_tables
from lstn_search.paper.flops import count_flops, count_params
from lstn_search.paper.tables import TABLE_NUMBERS, Cell, PaperTable, Row, compute_tables, summarise


@pytest.fixture(scope="module")
def tables() -> dict[int, PaperTable]:
    return {table.number: table for table in compute_tables()}


def cells(tables: dict[int, PaperTable], column: str, *numbers: int) -> Iterator[tuple[int, Row, Cell]]:
    for number in numbers:
        for row in tables[number].rows:
            yield from ((number, row, cell) for cell in row.cells if cell.column == column)


def deviating(tables: dict[int, PaperTable], column: str, *numbers: int) -> list[tuple[int, str, str]]:
    return [
        (number, row.label, row.localizer)
        for number, row, cell in cells(tables, column, *numbers)
        if cell.status != "exact"
    ]


def backbone_gflops(name: str, *, num_classes: int, image_size: int, fixed_pool: bool) -> float:
    return paper_tables._backbone_cost(name, num_classes, image_size, fixed_pool)[1] / 1e9


# -- what comes out ----------------------------------------------------------------------------------------------------


def test_every_parameter_count_of_every_model_is_exact(tables: dict[int, PaperTable]) -> None:
    assert len(list(cells(tables, "parameters", 4, 5, 7, 9))) == 14 + 28 + 32 + 30
    assert deviating(tables, "parameters", 4, 5, 7, 9) == []


def test_gflops_are_exact_to_the_last_printed_digit_but_for_six_cells(tables: dict[int, PaperTable]) -> None:
    assert deviating(tables, "gflops", 4, 5, 7, 9) == [
        (4, "EfficientNet-b3", "none"),
        (4, "ResNet-101", "none"),
        (7, "EfficientNet-b3", "none"),
        (9, "EfficientNet-b3", "stn"),
        (9, "EfficientNet-b3", "vstn"),
        (9, "EfficientNet-b5", "vstn"),
    ]
    assert all(abs(cell.difference) <= 2e-4 for _, _, cell in cells(tables, "gflops", 4, 5, 7, 9))


def test_the_layers_of_the_three_localizers_are_as_printed(tables: dict[int, PaperTable]) -> None:
    assert [len(tables[number].rows) for number in (1, 2, 3)] == [5, 8, 18]
    assert deviating(tables, "filter", 1, 2, 3) == deviating(tables, "output", 1, 2, 3) == []
    assert deviating(tables, "parameters", 1, 2) == []
    totals = [tables[number].rows[-1].cells[0] for number in (1, 2, 3)]
    assert [(total.printed, total.computed) for total in totals] == [(n, n) for n in ("3194", "3032", "3690")]


def test_two_batch_norms_of_table_3_are_printed_twice_as_large(tables: dict[int, PaperTable]) -> None:
    wrong = [row.cells[2] for row in tables[3].rows if row.cells[-1].status != "exact"]
    assert [(cell.printed, cell.computed, cell.difference) for cell in wrong] == [("36+16", "36+8", -8)] * 2


def test_nothing_is_left_without_an_explanation(tables: dict[int, PaperTable]) -> None:
    summary = summarise(list(tables.values()))
    assert summary.num_open == 0
    assert (summary.num_cells, summary.num_exact, summary.num_close, summary.num_explained) == (299, 287, 6, 6)


def test_a_cell_has_a_note_exactly_when_it_deviates(tables: dict[int, PaperTable]) -> None:
    for table in tables.values():
        for cell in table.cells:
            assert bool(cell.note) == (cell.status != "exact"), (table.number, cell)


def test_every_note_is_used(tables: dict[int, PaperTable]) -> None:
    for note in paper_tables._printed()["notes"]:
        carriers = [cell for cell in tables[note["table"]].cells if cell.note == note["text"]]
        assert len(carriers) == len(note["cells"]), note


# -- what the notes say is true ----------------------------------------------------------------------------------------


def test_the_two_deviating_backbones_were_counted_with_101_classes() -> None:
    b3 = backbone_gflops("paper_efficientnet_b3", num_classes=101, image_size=300, fixed_pool=False)
    resnet101 = backbone_gflops("resnet101", num_classes=101, image_size=224, fixed_pool=True)
    assert f"{b3:.4f}" == "8.2597"
    assert f"{resnet101:.4f}" == "7.8320"


def test_table_9_subtracts_rounded_totals(tables: dict[int, PaperTable]) -> None:
    printed = {(row.label, row.localizer): float(cell.printed) for _, row, cell in cells(tables, "gflops", 7)}
    b3 = [printed["EfficientNet-b3", name] - printed["EfficientNet-b3", "none"] for name in ("stn", "vstn")]
    assert [f"{difference:.4f}" for difference in b3] == ["0.1449", "0.1570"]
    b5 = backbone_gflops("paper_efficientnet_b5", num_classes=101, image_size=456, fixed_pool=False)
    vstn = paper_tables._localizer_cost("vstn", 456).gflops
    assert f"{round(b5 + vstn, 4) - round(b5, 4):.4f}" == "0.3683"
    assert f"{vstn:.5f}" == "0.36836"


def test_the_printed_rows_of_table_3_add_up_to_3706(tables: dict[int, PaperTable]) -> None:
    assert sum(paper_tables._sum(row.cells[-1].printed) for row in tables[3].rows[:-1]) == 3706


def test_the_resnets_pool_costs_one_in_ten_thousand_gflops() -> None:
    fixed, adaptive = (
        backbone_gflops("resnet50", num_classes=10, image_size=224, fixed_pool=fixed) for fixed in (True, False)
    )
    assert f"{adaptive - fixed:.6f}" == f"{2048 * (50 - 1) / 1e9:.6f}"


# -- the counter and the variant, checked another way ------------------------------------------------------------------


def test_flops_of_known_modules_follow_the_convention() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),  # 8*8*8 outputs of 27 products and a bias
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    ).to("meta")
    outputs = 8 * 8 * 8
    expected = outputs * 28 + 2 * outputs + outputs * 9 + outputs // 4 + 8 * (16 + 1) + 8 * 5
    assert count_flops(model, image_size=8) == expected


def test_macs_of_the_variant_agree_with_torchs_own_counter() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        model = PaperEfficientNet(0, num_classes=10).eval()
        image = torch.empty(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter:
        model(image)
    norms_pools_biases = 13_475_392 + (2_369_248 + 10_240) + 9_340  # 2 an output; window + 1; SE's convolutions
    assert counter.get_total_flops() // 2 + norms_pools_biases == count_flops(model, image_size=224)


def test_each_efficientnet_stands_at_its_own_input_size(tables: dict[int, PaperTable]) -> None:
    sizes = {row.label: row.image_size for row in tables[9].rows if row.label.startswith("EfficientNet")}
    assert tuple(sizes.values()) == IMAGE_SIZES_PX


@pytest.mark.parametrize("variant", range(6))
def test_the_variants_stay_far_from_the_standard_ones(variant: int) -> None:
    from torchvision import models

    with torch.device("meta"):
        paper = PaperEfficientNet(variant, num_classes=1000)
        standard = models.get_model(f"efficientnet_b{variant}", num_classes=1000)
    assert count_params(paper) > 2.5 * count_params(standard)  # the dense 3x3 expansion


def test_the_variant_learns() -> None:
    torch.manual_seed(0)
    model = PaperEfficientNet(0, num_classes=3)
    loss = nn.functional.cross_entropy(model(torch.randn(2, 3, 32, 32)), torch.tensor([0, 1]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in model.parameters())


# -- the command -------------------------------------------------------------------------------------------------------


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command: its exit code, and what it printed."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cli.py", "paper", "tables", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capsys.readouterr()

    return call


def test_the_command_prints_a_table_its_notes_and_a_summary(run: Run) -> None:
    code, out, _ = run("--only", "9")
    assert code == 0
    assert "Table 9" in out
    assert "868,704" in out
    assert "60 cells: 57 exact to the last printed digit, 3 within 0.5 %" in out
    assert "…" not in out  # nothing cut off
    assert max(map(len, out.splitlines())) <= 108


def test_the_command_gives_the_same_as_json(run: Run, tables: dict[int, PaperTable]) -> None:
    data = json.loads(run("--only", "3", "--json")[1])
    assert data["tables"] == [json.loads(json.dumps(tables[3].to_dict()))]
    assert data["summary"] == {"num_cells": 52, "num_exact": 50, "num_close": 0, "num_explained": 2, "num_open": 0}


def test_a_table_of_accuracies_is_refused_in_one_line(run: Run) -> None:
    code, _, err = run("--only", "6")
    assert code == 2
    assert err.strip() == "error: Table 6 holds no costs to compute; choose one of 1, 2, 3, 4, 5, 7, 9"
    with pytest.raises(SettingError):
        compute_tables([8])
    assert TABLE_NUMBERS == (1, 2, 3, 4, 5, 7, 9)
