"""What people get: a wheel that works where nothing of this folder is, and a site that needs no network."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment with the built wheel; the dependencies are those of this one."""
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("installed")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(folder / "dist"), versions=["standard"])
    assert wheel.endswith("-py3-none-any.whl")
    venv.create(folder / "venv", with_pip=False)
    scripts = folder / "venv" / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--no-compile", wheel], check=True)
    (site_packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return scripts


def ask(tmp_path: Path, *words: str | Path) -> str:
    """What a command says, away from this folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_wheel_s_command_counts_what_the_paper_printed(installed: Path, tmp_path: Path) -> None:
    told = json.loads(ask(tmp_path, installed / "lstn-search", "cost", "--arch", "lstn", "--json"))
    assert (told["params"], round(told["gflops"], 4)) == (869_200, 0.0257)


def test_the_wheel_holds_all_that_is_read(installed: Path, tmp_path: Path) -> None:
    code = "import json, lstn_search as ls; print(json.dumps([ls.__file__, list(ls.load_space('lstn').seeds)]))"
    file, seeds = json.loads(ask(tmp_path, installed / "python", "-c", code))
    assert Path(file).is_relative_to(installed.parent)
    assert seeds == ["stn", "vstn", "lstn", "light", "places"]
    package = ROOT / "lstn_search"
    data = {path.relative_to(package) for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert len([path for path in data if path.suffix != ".py"]) >= 5  # templates, the paper's tables, py.typed
    assert not [path for path in data if not (Path(file).parent / path).is_file()]
    spaces = {path.name for path in (ROOT / "search_spaces").glob("*.toml")}
    assert {path.name for path in (Path(file).parent / "search_spaces").glob("*.toml")} == spaces


def test_what_is_declared_is_pinned_and_no_index_is_named() -> None:
    """Every direct dependency is in the lock file, which is nothing but pins."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    pinned = {re.sub("[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    assert {re.split("[<>=]", name)[0].lower() for name in asked} <= pinned
    versions = {
        c.rpartition(" ")[2] for c in project["classifiers"] if c.startswith("Programming Language :: Python :: 3.")
    }
    assert versions == {"3.11", "3.12", "3.13"} and project["requires-python"] == ">=3.11"


def test_the_site_is_built_without_a_warning_and_asks_for_nothing(tmp_path: Path) -> None:
    """Every page is there, every link within the site leads to a file, and no page loads what is not beside it."""
    pytest.importorskip("mkdocs")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site"), strict=True))
    pages = sorted((tmp_path / "site").rglob("*.html"))
    sources = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    assert len(pages) >= len(sources) + 1
    for page in (page for page in pages if page.name != "404.html"):
        html = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"", html)
        assert loaded and not [link for link in loaded if urlsplit(link).netloc]
        for link in [*loaded, *re.findall(r"<a\b[^>]*?\bhref=\"([^\"]+)\"", html)]:
            if not urlsplit(link).netloc and (path := unquote(urlsplit(link).path)):
                assert (page.parent / path).exists(), f"{page.name}: {link}"
    styles = "".join(file.read_text(encoding="utf-8") for file in (tmp_path / "site").rglob("*.css"))
    assert not re.search(r"@import|url\(['\"]?(https?:)?//", styles)
