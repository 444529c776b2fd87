"""`cost` and `space` on the command line."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_spaces import with_warp

from lstn_search.cli import app, main
from lstn_search.runs.run import Run
from lstn_search.spec import moves
from lstn_search.spec.cost import cost
from lstn_search.spec.space import load_space, space_folder
from lstn_search.spec.warp_families import WARP_FAMILIES

ROOT = Path(__file__).resolve().parents[2]
LSTN = load_space("lstn")


def call(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """What a command prints, in this process."""
    app(list(args), standalone_mode=False)
    return capsys.readouterr().out


Refusal = Callable[..., str]


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refusal:
    """Runs the command line on bad input and returns the one line it says."""

    def run(*args: str) -> str:
        monkeypatch.setattr(sys, "argv", ["cli.py", *args])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert (ended.value.code, out) == (2, "")
        assert len(err.splitlines()) == 1
        return err

    return run


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


# -- cost --------------------------------------------------------------------------------------------------------------


def test_cost_prints_the_paper_s_totals() -> None:
    """In a process of its own."""
    command = [sys.executable, "cli.py", "cost", "--arch", "lstn"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "869,200 parameters, 3,690 before the head; 23,315,264 MACs; 0.0257 GFLOPs." in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 100


@pytest.mark.parametrize("name", LSTN.seeds)
def test_cost_table_has_one_line_a_row(capsys: pytest.CaptureFixture[str], name: str) -> None:
    out = call(capsys, "cost", "--arch", name, "--image-size", "96")
    rows = cost(LSTN.seeds[name], 96).layers
    params = [f"{row.params:,}" for row in rows if row.params]
    found = [line.split() for line in out.splitlines()]
    assert [p for p in params if any(p in words for words in found)] == params
    assert sum(
        bool(re.search(r"\b(conv|depthwise|max-pool|average-pool|average the image|spread|linear)\b", line))
        for line in out.splitlines()
    ) == len(rows)


def test_cost_says_what_a_net_looks_at_and_what_trials_train(capsys: pytest.CaptureFixture[str]) -> None:
    places, lstn = (" ".join(call(capsys, "cost", "--arch", name).split()) for name in ("places", "lstn"))
    assert "average the image 64 x 64 x 3 196,608 1" in places
    assert "x, y, spread, mean 96 18,432 36,864 75" in places
    assert "The image is averaged to 64 x 64" in places and "The image is averaged" not in lstn
    assert "As trials train it, at 64 px: 0.0018 GFLOPs." in lstn and "As trials" not in places
    assert "As trials" not in call(capsys, "cost", "--arch", "lstn", "--image-size", "64")


@pytest.mark.parametrize("warp", WARP_FAMILIES)
def test_cost_names_the_warp(capsys: pytest.CaptureFixture[str], tmp_path: Path, warp: str) -> None:
    path = tmp_path / "net.json"
    path.write_text(with_warp(LSTN.seeds["light"], warp).to_json())
    num = len(WARP_FAMILIES[warp].params)
    out = call(capsys, "cost", "--arch", str(path))
    assert re.search(rf"linear: {num} numbers, {warp} +{num} +{33 * num} +{32 * num} ", out)


def test_cost_puts_batch_norm_and_relu_in_their_order(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    layers = [
        {"out_channels": 4, "kernel": 3, "norm": norm, "max_pool": pool, "act": act}
        for norm, pool, act in (
            ("conv-bn-act", 1, "relu"),
            ("conv-act-bn", 1, "relu"),
            ("conv-bn-act", 2, "relu"),
            ("conv-act-bn", 2, "relu"),
            ("none", 1, "none"),
        )
    ]
    path = tmp_path / "net.json"
    path.write_text(json.dumps({"layers": layers}))
    out = call(capsys, "cost", "--arch", str(path), "--image-size", "64")
    words = re.findall(r"(?:conv 3x3|max-pool 2x2)[^\d]*(?= )", out)
    assert [text.strip() for text in words] == [
        "conv 3x3, BN, ReLU",
        "conv 3x3, ReLU, BN",
        "conv 3x3, BN",
        "max-pool 2x2, ReLU",
        "conv 3x3",
        "max-pool 2x2, ReLU, BN",
        "conv 3x3",
    ]


def test_cost_json_is_the_cost(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(LSTN.seeds["light"].to_json())
    data = json.loads(call(capsys, "cost", "--arch", str(path), "--image-size", "64", "--json"))
    expected = cost(LSTN.seeds["light"], 64)
    assert {key: data[key] for key in ("params", "macs", "gflops", "image_size")} == {
        "params": expected.params,
        "macs": expected.macs,
        "gflops": expected.gflops,
        "image_size": 64,
    }
    assert data["layers"] == expected.to_dict()["layers"]
    assert data["transformer"]["flops"] == 64 * 64 * (6 + 2 + 4 + 4 + 3 * 4)
    assert data["digest"] == LSTN.seeds["light"].digest


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["cost", "--arch", "lsnt"], "architecture 'lsnt' is unknown; did you mean 'lstn'?"),
        (["cost", "--arch", "lstn", "--image-size", "0"], "image size must be a whole number of at least 1, got 0"),
        (["cost", "--arch", "stn", "--image-size", "12"], "layer 2: convolution 5x5 shrinks its 3x3 map below 1x1"),
        (["cost", "--arch", "nowhere.json"], "nowhere.json: cannot be read"),
        (["cost", "--arch", "lstn", "--space", "lsnt"], "search space 'lsnt' is unknown; did you mean 'lstn'?"),
        (["cost"], "Missing option '--arch'"),
        (["space", "check", "nowhere.toml"], "nowhere.toml: cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(refusal: Refusal, args: list[str], message: str) -> None:
    assert message in refusal(*args)


def test_an_arch_file_with_an_unknown_field_is_named(refusal: Refusal, tmp_path: Path) -> None:
    data = LSTN.seeds["stn"].to_dict()
    data["layers"][1]["dilation"] = 2
    (tmp_path / "net.json").write_text(json.dumps(data))
    assert "layers[1]: unknown field 'dilation'" in refusal("cost", "--arch", str(tmp_path / "net.json"))


# -- space -------------------------------------------------------------------------------------------------------------


def test_space_list_names_every_file(capsys: pytest.CaptureFixture[str]) -> None:
    out = call(capsys, "space", "list")
    assert all(path.stem in out for path in space_folder().glob("*.toml"))
    assert "stn, vstn, lstn, light, places" in " ".join(out.split())


def test_space_show(capsys: pytest.CaptureFixture[str]) -> None:
    out = call(capsys, "space", "show", "lstn")
    for name, values in LSTN.values.items():
        line = next(line for line in out.splitlines() if line.split()[:1] == [name])
        assert all(str(value).lower() in line for value in values)
    assert re.search(r"vstn +868,542 +0\.0863 +0\.0061 +no ", out)
    assert re.search(r"lstn +869,200 +0\.0257 +0\.0018 +yes ", out)
    assert re.search(r"places +11,582 +0\.0026 +same +yes ", out)
    assert f"{LSTN.count():,} sets of choices." in out
    assert f"Cheapest at 224: {moves.cheapest(LSTN, 224)[0]:.6f} GFLOPs" in out


def test_space_show_when_a_seed_is_too_large_for_the_image(capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(r"vstn +– +too small", call(capsys, "space", "show", "lstn", "--image-size", "12"))


def test_space_show_prints_brackets_as_they_are(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = (space_folder() / "lstn.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('description = "', 'description = "[red]mine[/red] :boom: '))
    assert "mine: [red]mine[/red] :boom: " in call(capsys, "space", "show", str(path))


def test_space_check_of_a_good_and_a_bad_file(
    capsys: pytest.CaptureFixture[str], refusal: Refusal, tmp_path: Path
) -> None:
    text = (space_folder() / "lstn.toml").read_text()
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(text)
    bad.write_text(text.replace("kernel = [3, 5]\n", "kernel = [3, 6]\n"))
    assert call(capsys, "space", "check", str(good)).startswith(f"{good}: ok (")
    assert refusal("space", "check", str(bad)).startswith(f"error: {bad}: unit.kernel[1]: 6 is even; use an odd kernel")


# -- what must stay light ----------------------------------------------------------------------------------------------

HEAVY = {"torch", "numpy", "pandas", "optuna", "matplotlib"}
NO_TORCH = f"import sys; assert not {HEAVY} & set(sys.modules), {HEAVY} & set(sys.modules)"


def test_importing_brings_no_torch() -> None:
    modules = ("errors", "spec.arch", "spec.choices", "spec.cost", "spec.moves", "spec.settings", "spec.pareto", "cli")
    code = f"import {', '.join(f'lstn_search.{module}' for module in modules)}; {NO_TORCH}"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_describing_brings_no_torch() -> None:
    code = "from lstn_search.cli import app\n"
    for args in (["--help"], ["cost", "--arch", "lstn"], ["space", "show", "lstn"]):
        code += f"app({args!r}, standalone_mode=False)\n"
    subprocess.run([sys.executable, "-c", code + NO_TORCH], cwd=ROOT, check=True, capture_output=True)


# -- the words of --arch -----------------------------------------------------------------------------------------------


def test_cost_takes_an_architecture_of_a_run_at_its_image_size(
    capsys: pytest.CaptureFixture[str], complete_run: Run
) -> None:
    best, path = complete_run.pick("best").candidate, complete_run.folder.path
    for which in ("", ":best", f":{best.name}", f":{best.number}", f":{best.arch.digest[:8]}"):
        facts = json.loads(call(capsys, "cost", "--arch", f"{path}{which}", "--json"))
        assert (facts["arch"], facts["digest"]) == (best.name, best.arch.digest)
        assert facts["image_size"] == complete_run.task.image_size
    assert json.loads(call(capsys, "cost", "--arch", str(path), "--json", "--image-size", "96"))["image_size"] == 96


def test_space_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert [row["seed_points"] for row in json.loads(call(capsys, "space", "list", "--json"))] == [list(LSTN.seeds)]
    facts = json.loads(call(capsys, "space", "show", "lstn", "--json"))
    assert facts["choices"] == {name: list(values) for name, values in LSTN.values.items()}
    assert facts["seed_points"][2]["gflops"] == cost(LSTN.seeds["lstn"], 224).gflops


def test_quiet_leaves_the_table_alone(capsys: pytest.CaptureFixture[str]) -> None:
    loud, quiet = call(capsys, "cost", "--arch", "lstn"), call(capsys, "cost", "--arch", "lstn", "--quiet")
    assert loud.startswith(quiet.rstrip()) and "Not included" in loud and "Not included" not in quiet
