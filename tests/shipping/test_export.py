"""Exported files, against the modules they were exported from."""

import ast
import dataclasses
import importlib.util
import inspect
import itertools
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_spaces import SKIPS, with_head, with_warp
from torch import nn

from lstn_search.errors import ArchError, RunError
from lstn_search.nets.localizer import Localizer, Residual, SoftArgmax
from lstn_search.nets.transformer import SpatialTransformer, warp
from lstn_search.shipping import folder as export_folder
from lstn_search.shipping.code import model_code
from lstn_search.shipping.folder import write_model
from lstn_search.shipping.place import RECORD
from lstn_search.shipping.proof import Proof, prove
from lstn_search.spec.arch import Arch, Head, Layer
from lstn_search.spec.cost import cost, fits
from lstn_search.spec.space import load_space
from lstn_search.spec.warp_families import WARP_FAMILIES

SPACE = load_space("lstn")
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
FACTS = {"dataset": "caltech101", "top-1 accuracy": 63.275, "note": "on the affine view, " * 9}
Exported = tuple[Path, Localizer, Proof]
ROOT = Path(__file__).resolve().parents[2]
RUFF = [sys.executable, "-m", "ruff"]


def random_archs(count: int, image_size: int) -> list[Arch]:
    """Architectures of the space that can be built."""
    rng = random.Random(0)
    drawn = (SPACE.expand(SPACE.sample(rng)) for _ in itertools.count())
    return list(itertools.islice((arch for arch in drawn if fits(arch, image_size)), count))


ODD_ARCHS = [  # what no seed point and no point of the space has
    Arch(layers=(Layer(out_channels=6, kernel=3, act="none"),), head=Head(hidden=0, pool_to=3), in_channels=1),
    Arch(layers=(Layer(out_channels=4, kernel=3, norm="conv-act-bn", act="none", max_pool=3),) * 3, in_channels=2),
    Arch(layers=(Layer(out_channels=512, kernel=5, stride=4, padding=2, groups=2),) * 3, in_channels=2),
    Arch(layers=(Layer(out_channels=8, kernel=1), Layer(out_channels=8, kernel=3), Layer(out_channels=4, kernel=1))),
    Arch(layers=(Layer(out_channels=3, kernel=3, padding=1, groups=3, max_pool=2),) * 3),
    SKIPS,
]
WARPS = [with_warp(SPACE.seeds["light"], warp) for warp in WARP_FAMILIES]
LOOKING = [  # at an image of 64 pixels: smaller, as it is, larger
    dataclasses.replace(SPACE.seeds["lstn"], look=48),
    SPACE.seeds["places"],
    dataclasses.replace(with_head(SKIPS, pool_to="soft-argmax", hidden=0), look=96),
    dataclasses.replace(SPACE.seeds["light"], look=33),
]
ARCHS = [(arch, 64) for arch in [*SPACE.seeds.values(), *random_archs(30, 64), *WARPS, *LOOKING]]
ARCHS += [(with_head(SPACE.seeds["stn"], pool_to="soft-argmax"), 64)]
ARCHS += [(arch, 96) for arch in ODD_ARCHS]
RESIDUAL_ARCHS = [
    arch
    for arch in (SPACE.expand(SPACE.sample(random.Random(seed))) for seed in range(30))
    if fits(arch, 64) and any(layer.skip for layer in arch.layers)
]
ARCHS += [(arch, 64) for arch in RESIDUAL_ARCHS]


@torch.no_grad()
def trained(arch: Arch, image_size: int) -> Localizer:
    """A localizer whose theta varies from image to image, and in which every batch norm has its own statistics."""
    torch.manual_seed(0)
    localizer = Localizer(arch, image_size)
    norms = [module for module in localizer.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.uniform_(0.5, 1.5)
        norm.weight[::2] *= -1  # a negative scale tells the norm before a pooling from the one behind
        norm.bias.uniform_(-0.5, 0.5)
        norm.momentum = None  # statistics over all batches
    localizer.last.weight.normal_(0, 0.1)
    localizer.last.bias.add_(0.1 * torch.randn_like(localizer.last.bias))
    for _ in range(4):
        localizer.train()(torch.randn(16, arch.in_channels, image_size, image_size))
    return localizer.eval()


def load_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("model", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def source(arch: Arch, image_size: int, **options: Any) -> str:
    grey = (0.5,) * arch.in_channels
    return model_code(arch, image_size, **{"title": "net", "facts": FACTS, "mean": grey, "std": grey, **options})


def images(arch: Arch, *size: int) -> torch.Tensor:
    return torch.randn(3, arch.in_channels, *size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """These nets are small: on a busy machine more threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """L-STN in a folder, with the proof that it stands alone."""
    folder = tmp_path_factory.mktemp("export") / "not" / "there" / "yet"
    localizer = trained(SPACE.seeds["lstn"], 64)
    classifier = {"fc.weight": torch.randn(2, 3).half()}
    proof = write_model(
        folder, localizer, title="L-STN", facts=FACTS, **IMAGENET, classifier=classifier, class_names=["no", "é"]
    )
    return folder, localizer, proof


@pytest.fixture
def copied(exported: Exported, tmp_path: Path) -> Path:
    """A copy of the exported folder, to be damaged."""
    return Path(shutil.copytree(exported[0], tmp_path / "copy"))


# -- the code ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arch", "image_size"), ARCHS)
def test_code_gives_what_the_module_gives(arch: Arch, image_size: int, tmp_path: Path) -> None:
    localizer = trained(arch, image_size)
    (tmp_path / "model.py").write_text(source(arch, image_size))
    torch.save(localizer.state_dict(), tmp_path / "weights.pt")
    transformer = load_file(tmp_path / "model.py").load()
    x_BCHW = images(arch, image_size, image_size)
    with torch.no_grad():
        warped_BCHW, theta_B23 = SpatialTransformer(localizer)(x_BCHW)
        moving = [entry != "0" for entry in WARP_FAMILIES[arch.head.warp].entries]
        assert (theta_B23.std(dim=0) > 0).flatten().tolist() == moving
        assert (transformer.theta(x_BCHW) - theta_B23).abs().max() <= 1e-6
        assert (transformer(x_BCHW) - warped_BCHW).abs().max() <= 1e-6
    assert sum(p.numel() for p in transformer.parameters()) == cost(arch, image_size).params


@pytest.mark.parametrize("arch", LOOKING)
@torch.no_grad()
def test_a_net_with_a_look_takes_any_image_as_the_module_does(arch: Arch, tmp_path: Path) -> None:
    localizer = trained(arch, 64)
    code = source(arch, 64)
    (tmp_path / "model.py").write_text(code)
    torch.save(localizer.state_dict(), tmp_path / "weights.pt")
    transformer = load_file(tmp_path / "model.py").load()
    for size in ((64, 64), (224, 224), (75, 131)):
        x_BCHW = images(arch, *size)
        warped_BCHW, theta_B23 = SpatialTransformer(localizer)(x_BCHW)
        assert torch.equal(transformer.theta(x_BCHW), theta_B23)
        assert torch.equal(transformer(x_BCHW), warped_BCHW)
    side = arch.side(64)
    plain = Localizer(dataclasses.replace(arch, look=None), side).eval()
    plain.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    x_BCHW = images(arch, side, side)
    assert torch.equal(transformer.theta(x_BCHW), plain(x_BCHW)), "the same net without the averaging"
    assert f"F.adaptive_avg_pool2d(images, {side})" in code and "F.interpolate" not in code
    assert f"averaged to {side} x {side}" in " ".join((ast.get_docstring(ast.parse(code)) or "").split())


def test_what_only_some_nets_need_is_in_their_files_alone() -> None:
    stn, places = source(SPACE.seeds["stn"], 64), source(SPACE.seeds["places"], 64)
    assert inspect.getsource(SoftArgmax) in places and "            SoftArgmax(),  # 96\n" in places
    for code in (stn, source(SPACE.seeds["light"], 64)):
        assert "SoftArgmax" not in code and "F.adaptive_avg_pool2d" not in code and "F.interpolate" in code


@pytest.mark.parametrize("options", [[], ["--line-length", "120"], ["--config", str(ROOT / "pyproject.toml")]])
def test_code_is_as_ruff_would_write_it(options: list[str], tmp_path: Path) -> None:
    for number, (arch, image_size) in enumerate(ARCHS):
        (tmp_path / f"net{number}.py").write_text(source(arch, image_size))
    isolated = [] if "--config" in options else ["--isolated"]
    for command in (["format", "--check"], ["check", "--no-cache"]):
        run = subprocess.run([*RUFF, *command, *isolated, *options, tmp_path], capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr


def test_code_imports_only_torch() -> None:
    imported = set()
    for node in ast.walk(ast.parse(source(SPACE.seeds["lstn"], 64))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).partition(".")[0])
    assert imported - sys.stdlib_module_names == {"torch"}


def test_each_layer_has_a_line_with_its_shape_under_its_unit() -> None:
    lines = source(SPACE.seeds["lstn"], 224).splitlines()
    start = next(i for i, line in enumerate(lines) if "# unit 3" in line)
    assert [line.strip() for line in lines[start : start + 4]] == [
        "# unit 3: decoder, 3x3, encoder",
        "*conv_bn_relu(4, 8, 1),  # 8 x 108 x 108",
        "*conv_bn_relu(8, 8, 3, stride=2, padding=1),  # 8 x 54 x 54",
        "*conv_bn_relu(8, 4, 1),  # 4 x 54 x 54",
    ]


def test_a_skip_holds_its_layers_in_the_module_s_own_class() -> None:
    code = source(SKIPS, 224)
    assert inspect.getsource(Residual) in code
    assert "Residual" not in source(SPACE.seeds["lstn"], 224)
    lines = code.splitlines()
    start = lines.index("            Residual(")
    assert [line.strip() for line in lines[start : start + 12]] == [
        "Residual(",
        "nn.Conv2d(3, 16, 1),  # 16 x 224 x 224",
        "nn.BatchNorm2d(16),",
        "nn.ReLU(inplace=True),",
        "# unit 1: depthwise 3x3, 1x1",
        "Residual(",
        "nn.Conv2d(16, 16, 3, padding=1, groups=16),  # 16 x 224 x 224",
        "nn.ReLU(inplace=True),",
        "nn.BatchNorm2d(16),",
        "),",
        "nn.Conv2d(16, 3, 1),  # 3 x 224 x 224",
        "),",
    ]


def test_docstring_says_what_the_net_is_and_costs() -> None:
    doc = ast.get_docstring(ast.parse(source(SPACE.seeds["lstn"], 224, title="L-STN")))
    assert doc
    assert doc.startswith("L-STN: a spatial transformer")
    rows = dict(line.split(maxsplit=1) for line in doc.splitlines() if line.startswith("    "))
    assert rows["parameters"] == "869,200"
    assert rows["MACs"].startswith("23,315,264 at 224 x 224")
    assert rows["GFLOPs"].startswith("0.0257")
    assert rows["dataset"] == "caltech101"
    assert "63.275" in doc


@pytest.mark.parametrize(
    "text", ['"quoted"', 'three """ of them', "back\\slash\\", "two\nlines", "nul\0", "", "{braces}", "\udcff", "£"]
)
def test_any_title_and_fact_can_stand_in_the_docstring(text: str, tmp_path: Path) -> None:
    code = source(SPACE.seeds["light"], 64, title=text, facts={text: text, "folder": Path("C:\\nets") / text})
    path = tmp_path / "model.py"
    path.write_text(code, encoding="utf-8")
    assert load_file(path).IMAGE_SIZE == 64
    subprocess.run([*RUFF, "format", "--isolated", "--check", path], check=True, capture_output=True)


def test_an_arch_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ArchError, match="image size 8"):
        source(SPACE.seeds["stn"], 8)


# -- the folder and its proof ------------------------------------------------------------------------------------------


def test_lstn_stands_alone(exported: Exported) -> None:
    folder, localizer, proof = exported
    assert proof.max_theta_difference <= 1e-6
    assert proof.max_image_difference <= 1e-6
    assert (proof.num_images, proof.image_size) == (8, 64)
    assert sorted(path.name for path in folder.iterdir()) == [
        *(RECORD, "arch.json", "classes.json", "classifier.pt", "model.py", "weights.pt")
    ]
    assert json.loads((folder / "classes.json").read_text()) == ["no", "é"]
    assert Arch.load(folder / "arch.json") == localizer.arch
    assert json.loads((folder / "arch.json").read_text()) == localizer.arch.to_dict()
    assert "classifier.pt" in (folder / "model.py").read_text()
    assert torch.load(folder / "classifier.pt", weights_only=True)["fc.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    "arch",
    [with_warp(RESIDUAL_ARCHS[0], "crop"), with_warp(LOOKING[0], "similarity")],
    ids=["residual units and a crop", "a look and a similarity"],
)
def test_what_lstn_has_not_stands_alone_too(arch: Arch, tmp_path: Path) -> None:
    proof = write_model(tmp_path / "out", trained(arch, 64), title="net", facts={}, **IMAGENET)
    assert proof.max_theta_difference <= 1e-6
    assert Arch.load(tmp_path / "out" / "arch.json") == arch


def test_a_net_with_a_look_is_proved_at_a_larger_size_too(tmp_path: Path) -> None:
    localizer = trained(SPACE.seeds["places"], 64)
    proof = write_model(tmp_path / "out", localizer, title="looks", facts={}, **IMAGENET)
    assert proof.max_theta_difference == proof.max_image_difference == 0
    code = (tmp_path / "out" / "model.py").read_text()
    wrong = code.replace("F.adaptive_avg_pool2d(images, ", "F.adaptive_max_pool2d(images, ")
    (tmp_path / "out" / "model.py").write_text(wrong)
    with pytest.raises(RuntimeError, match="is not the model it was exported from"):
        prove(tmp_path / "out", localizer)


def test_export_leaves_the_localizer_alone_and_replaces_what_was_there(copied: Path) -> None:
    localizer = trained(SPACE.seeds["light"], 48).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    before = {name: tensor.clone() for name, tensor in localizer.state_dict().items()}
    proof = write_model(copied, localizer, title="light", facts={}, **IMAGENET)
    assert proof.image_size == 48
    assert localizer.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in localizer.state_dict().items())
    assert localizer.features[0].weight.is_contiguous(memory_format=torch.channels_last)
    weights = torch.load(copied / "weights.pt", weights_only=True)
    assert all(tensor.is_contiguous() for tensor in weights.values())
    assert Arch.load(copied / "arch.json") == localizer.arch
    assert not (copied / "classifier.pt").exists() and not (copied / "classes.json").exists()


def test_a_wrong_weight_fails_the_proof(copied: Path, exported: Exported) -> None:
    weights = torch.load(copied / "weights.pt", weights_only=True)
    weights["features.0.bias"][0] += 0.01
    torch.save(weights, copied / "weights.pt")
    with pytest.raises(RuntimeError, match=r"other weights than the model's: features\.0\.bias$"):
        prove(copied, exported[1])


def test_another_import_fails_the_proof(copied: Path, exported: Exported) -> None:
    code = (copied / "model.py").read_text()
    imports = "import torch\ntry:\n    import safetensors\nexcept ImportError:\n    import lstn_search\n"
    (copied / "model.py").write_text(code.replace("import torch\n", imports, 1))
    with pytest.raises(RuntimeError) as error:
        prove(copied, exported[1])
    for name in ("safetensors", "lstn_search"):
        assert f"{name} may not be imported here" in str(error.value)


def test_nothing_is_written_where_nothing_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(export_folder, "prove", lambda folder, localizer: None)
    with pytest.raises(RunError, match=r"file/out: cannot be written \(.+\); choose another folder"):
        write_model(tmp_path / "file" / "out", trained(SPACE.seeds["light"], 32), title="", facts={}, **IMAGENET)


def test_an_export_that_fails_its_proof_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = source(SPACE.seeds["light"], 32).replace("nn.ReLU(inplace=True)", "nn.SiLU()")
    monkeypatch.setattr(export_folder, "model_code", lambda *args, **options: code)
    with pytest.raises(RuntimeError, match="is not the model it was exported from"):
        write_model(tmp_path / "out", trained(SPACE.seeds["light"], 32), title="", facts={}, **IMAGENET)
    assert not (tmp_path / "out").exists()


# -- the exported file in use ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (224, 224), (40, 91)])
@torch.no_grad()
def test_images_of_any_size_are_warped_at_their_own(size: tuple[int, int], exported: Exported) -> None:
    folder, localizer, _ = exported
    transformer = load_file(folder / "model.py").load()
    x_BCHW = images(localizer.arch, *size)
    seen_BCHW = F.interpolate(x_BCHW, (64, 64), mode="bilinear", antialias=True, align_corners=False)
    if size == (64, 64):
        assert torch.equal(seen_BCHW, x_BCHW)
    theta_B23 = localizer(seen_BCHW)
    torch.testing.assert_close(transformer.theta(x_BCHW), theta_B23, rtol=0, atol=1e-6)
    torch.testing.assert_close(transformer(x_BCHW), warp(x_BCHW, theta_B23), rtol=0, atol=1e-6)


@torch.no_grad()
def test_under_autocast_the_file_does_what_the_module_does(exported: Exported) -> None:
    folder, localizer, _ = exported
    transformer = load_file(folder / "model.py").load()
    x_BCHW = images(localizer.arch, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        warped_BCHW, theta_B23 = SpatialTransformer(localizer)(x_BCHW)
        assert torch.equal(transformer.theta(x_BCHW), theta_B23)
        assert torch.equal(transformer(x_BCHW), warped_BCHW)
    assert theta_B23.dtype == torch.float32


def test_normalize_is_the_normalisation_of_the_training(exported: Exported) -> None:
    pixels = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    expected = torch.stack([(pixels[:, c] / 255 - IMAGENET["mean"][c]) / IMAGENET["std"][c] for c in range(3)], dim=1)
    torch.testing.assert_close(load_file(exported[0] / "model.py").normalize(pixels), expected)


def test_torch_can_export_it(exported: Exported) -> None:
    transformer = load_file(exported[0] / "model.py").load()
    x_BCHW = images(exported[1].arch, 64, 64)
    program = torch.export.export(transformer, (x_BCHW,), dynamic_shapes=({0: torch.export.Dim("B")},))
    x_BCHW = x_BCHW[:2]
    torch.testing.assert_close(program.module()(x_BCHW), transformer(x_BCHW))


@torch.no_grad()
def test_torch_can_export_a_net_that_looks_and_reads_positions(tmp_path: Path) -> None:
    localizer = trained(SPACE.seeds["places"], 64)
    (tmp_path / "model.py").write_text(source(localizer.arch, 64))
    torch.save(localizer.state_dict(), tmp_path / "weights.pt")
    transformer = load_file(tmp_path / "model.py").load()
    x_BCHW = images(localizer.arch, 224, 224)
    program = torch.export.export(transformer, (x_BCHW,), dynamic_shapes=({0: torch.export.Dim("B")},))
    torch.testing.assert_close(program.module()(x_BCHW[:2]), transformer(x_BCHW[:2]))


def test_the_file_checks_itself_when_run(exported: Exported, tmp_path: Path) -> None:
    command = [sys.executable, "-I", str(exported[0] / "model.py")]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("50,000 parameters\ntheta of an image of noise: [[")


def test_load_says_what_is_wrong_with_the_weights(copied: Path) -> None:
    model, path = load_file(copied / "model.py"), copied / "weights.pt"
    torch.save(trained(SPACE.seeds["stn"], 64).state_dict(), path)
    with pytest.raises(RuntimeError, match=r"Error.* in loading state_dict for LocalizationNet"):
        model.load()
    for content in (b"", b"not weights", path.read_bytes()[:1000]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"weights\.pt is not a weights file"):
            model.load()
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt is missing"):
        model.load(copied / "nowhere.pt")
