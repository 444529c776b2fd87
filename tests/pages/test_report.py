"""The page of a report: whole from whatever a run holds, at peace with any name, and right in a real browser."""

import dataclasses
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from report_page import Page
from report_runs import NUM_TRIALS, make_run, make_verification

import lstn_search as ls
from lstn_search.cli import main
from lstn_search.errors import RunError
from lstn_search.pages.facts.history import History, read_history
from lstn_search.pages.page import WrittenReport, report
from lstn_search.pictures.palette import DARK, LIGHT
from lstn_search.program import program
from lstn_search.runs.run import Run, open_run
from lstn_search.spec.results import TrialResult

SECTIONS = ["front", "verified", "growth", "architecture", "choices", "fidelity", "theta", "ledger", "pictures",
            "trials", "manifest", "commands"]  # fmt: skip
CHARTS = {
    "front",
    "verified",
    "growth",
    "architecture-best",
    "architecture-lstn",
    "choices",
    "fidelity",
    "theta",
    "ledger",
}


@pytest.fixture(scope="module")
def run(complete_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A complete search, verified."""
    made = open_run(shutil.copytree(complete_run.folder.path, tmp_path_factory.mktemp("runs") / "complete"))
    (made.folder.path / "verify.json").write_text(json.dumps(make_verification(made).to_dict()))
    return made


@pytest.fixture(scope="module")
def written(run: Run) -> WrittenReport:
    return report(run)


@pytest.fixture(scope="module")
def page(written: WrittenReport) -> Page:
    return Page(written.file)


# -- a complete run ----------------------------------------------------------------------------------------------------


def test_everything_is_there_in_its_order(run: Run, page: Page, written: WrittenReport) -> None:
    assert page.sections == SECTIONS
    assert written.file == run.folder.path / "report.html"
    assert written.num_bytes == written.file.stat().st_size < 8e6
    assert {file.stem for file in (run.folder.path / "report").iterdir()} == CHARTS
    assert set(page.charts) == CHARTS and len(page.charts) == written.num_pictures


def test_every_picture_is_a_picture_with_words_for_those_who_cannot_see_it(run: Run, page: Page) -> None:
    for file in (run.folder.path / "report").iterdir():
        with Image.open(file) as image:
            assert image.format == "PNG" and image.width > 1000
    assert all(len(words) > 40 for words in page.charts.values())
    drawn = re.findall(r'<svg viewBox="0 0 ([\d.]+) [\d.]+" class="(\w+)"', page.html)
    assert sorted(kind for _, kind in drawn) == ["narrow"] * len(CHARTS) + ["wide"] * len(CHARTS)
    assert all(float(points) / 72 <= {"narrow": 3.35, "wide": 7.2}[kind] + 0.01 for points, kind in drawn)


def test_points_of_charts_tell_what_they_are(run: Run, page: Page) -> None:
    """Twice, wide and narrow; and the front's own dots once more among those of theta."""
    tips = re.findall(r"<title>(.*?)</title>", page.html)
    for entry in run.front:
        said = f"{entry.candidate.name}: {entry.accuracy:.1f} %, {entry.candidate.gflops:g} GFLOPs, "
        assert sum(tip.startswith(said) for tip in tips) == 2 * (1 + entry.candidate.is_seed)
    assert sum(": spread " in tip for tip in tips) == 2 * sum(e.result.spread is not None for e in run.entries)


def test_ids_of_charts_are_their_own(page: Page) -> None:
    ids = re.findall(r' id="([^"]+)"', page.html)
    assert len(ids) == len(set(ids)) > len(CHARTS) + len(SECTIONS)
    assert set(re.findall(r' href="#([^"]+)"', page.html)) <= set(ids)


def test_the_page_needs_nothing_else(page: Page) -> None:
    for link in page.links:
        assert link is not None and link.startswith(("data:", "#"))
    assert not page.tags & {"link", "iframe", "object", "embed", "base"} - {"link"}
    assert "default-src 'none'" in page.html
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", page.html)


def test_the_numbers_are_those_of_the_run(run: Run, page: Page) -> None:
    best = run.pick("best")
    assert f"{best.candidate.name} reaches {best.accuracy:.1f} %" in page.text
    assert f"n = 5 seed points and {NUM_TRIALS} searched architectures" in page.text
    for entry in run.front:
        assert f"{entry.candidate.gflops:.5f}" in page.text and f"{entry.candidate.params:,}" in page.text
    assert [row[0] for row in page.rows] == [entry.candidate.name for entry in run.entries]
    assert f'"id": "{run.folder.manifest["id"]}"' in page.text
    words = page.text.partition(" --out OTHER_DIR")[0].rpartition(f"{program()} search ")[2].split()
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert (options["--dataset"], options["--budget-gflops"]) == ("glyphs", "0.03")


def test_the_verification_is_quoted(run: Run, page: Page) -> None:
    found = make_verification(run)
    row = next(row for row in found.finalists if row.name == found.pick)
    assert f"{row.name}, {row.mean_val:.1f} % (95 % interval {row.low_val:.1f} to {row.high_val:.1f})" in page.text
    assert "The search over-estimated its best by 2.0 points." in page.text
    assert "not distinguishable from L-STN" in page.text
    assert "not verified" not in page.text.lower()


# -- whatever is there -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search that ended with its first rung, and its report."""
    made = make_run(tmp_path_factory.mktemp("runs") / "interrupted", trials=3, rungs=0)
    report(made)
    return made


def test_interrupted_after_its_first_rung(interrupted: Run) -> None:
    run = interrupted
    found = Page(run.folder.path / "report.html")
    assert found.sections == SECTIONS
    assert "No architecture stands on the front" in found.text
    assert "Control and oracle have not been trained." in found.text
    assert f"--out {run.folder.path} --resume" in found.text
    assert "The search was interrupted" in found.text
    assert {"growth", "architecture-best"}.isdisjoint(file.stem for file in (run.folder.path / "report").iterdir())


def without_anything(run: Run) -> Run:
    return dataclasses.replace(run, entries=[])


def failures_only(run: Run) -> Run:
    failed = TrialResult(status="failed", reason="loss is nan", seconds=2.0)
    return dataclasses.replace(run, entries=[dataclasses.replace(entry, results=[failed]) for entry in run.entries])


def dead_only(run: Run) -> Run:
    inert = TrialResult(status="inert", frozen_top1=19.0, spread=0.001, out_of_frame=0.0, scale=1.0, determinant=1.0)
    return dataclasses.replace(run, entries=[dataclasses.replace(entry, results=[inert]) for entry in run.entries])


@pytest.mark.parametrize("change", [without_anything, failures_only, dead_only])
def test_there_is_always_a_page(run: Run, tmp_path: Path, change: Any) -> None:
    changed = change(run)
    rungs = tuple((entry.candidate.number, 0, entry.results[0]) for entry in changed.entries)
    history = History(proposals=read_history(run).proposals, rungs=rungs)
    found = Page(report(changed, tmp_path, history=history).file)
    assert found.sections == SECTIONS
    assert "--resume" in found.text
    assert "No architecture stands on the front" in found.text
    if change is failures_only:
        assert found.text.count("loss is nan") == len(run.entries)


def test_without_weights_the_pictures_are_missing_with_their_cure(run: Run, page: Page) -> None:
    name = run.front[-1].candidate.name
    assert f"{program()} show --arch {run.folder.path}:{name}" in page.text


def test_what_a_real_search_left(
    small_run: Run, small_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real weights and images: pictures before and after; with the images moved away, a page that says so."""
    monkeypatch.setenv("LSTN_CACHE_DIR", str(small_cache))
    best = small_run.front[-1].candidate
    first = report(small_run, tmp_path / "with")
    assert (tmp_path / "with" / "report" / f"before-after-{best.number}.png").exists()
    assert f"before and after the transformer of {best.name}" in Page(first.file).html
    settings = small_run.folder.settings
    moved = dataclasses.replace(settings, task=dataclasses.replace(settings.task, dataset="folder:/nowhere"))
    folder = type(small_run.folder)(small_run.folder.path, small_run.folder.manifest | {"settings": moved.to_dict()})
    second = report(dataclasses.replace(small_run, folder=folder), tmp_path / "without")
    assert first.num_pictures == second.num_pictures + 1
    assert "/nowhere" in Page(second.file).text


BAD = "</script><script>document.title='gone'</script><img src=x onerror=\"document.title='gone'\"> $x_1$ & {{ 7 * 7 }}"
"""A name that would be a script, an image, a formula or a template."""


@pytest.fixture(scope="module")
def hostile_run(run_of_three_objectives: Run) -> Run:
    """A run of three objectives, all of whose names are bad."""
    run = run_of_three_objectives
    entries = [
        dataclasses.replace(entry, candidate=dataclasses.replace(entry.candidate, name=BAD + entry.candidate.name))
        for entry in run.entries
    ]
    return dataclasses.replace(run, entries=entries)


@pytest.fixture(scope="module")
def hostile(hostile_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its report, in a folder that is no better."""
    return report(hostile_run, tmp_path_factory.mktemp("out") / "a <i>folder<").file


def test_a_report_of_three_objectives_says_so(page: Page, hostile_run: Run, hostile: Path) -> None:
    assert "--objectives" not in page.text
    page = Page(hostile)
    assert page.sections == SECTIONS
    assert "stand on the front of accuracy, GFLOPs and params, from " in page.text
    assert "--objectives accuracy,gflops,params" in page.text
    assert "points × GFLOPs × params." in page.text
    best = max(hostile_run.front, key=lambda entry: entry.accuracy)
    assert f"{best.candidate.name} reaches {best.accuracy:.1f} %" in page.text


def test_names_are_only_text(hostile_run: Run, hostile: Path) -> None:
    found = Page(hostile)
    assert BAD not in found.html and BAD in "".join(found.texts)
    assert found.rows[0][0] == hostile_run.entries[0].candidate.name
    assert "i" not in found.tags
    assert all((image["src"] or "").startswith("data:") for image in found.images)


# -- the doors ---------------------------------------------------------------------------------------------------------


def test_the_command_prints_file_size_and_seconds(
    run: Run, page: Page, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a run that nobody has verified and that has no references; only a verification speaks of test images."""
    copied = shutil.copytree(run.folder.path, tmp_path / "run", ignore=shutil.ignore_patterns("report*", "verify*"))
    manifest = json.loads((copied / "manifest.json").read_text())
    del manifest["references"]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(sys, "argv", ["cli.py", "report", str(copied)])
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(rf"{copied / 'report.html'}: [\d.]+ MB, \d+ pictures, [\d.]+ s", out.strip())
    assert err == ""
    text = Page(copied / "report.html").text
    assert "test %" in page.text and "test %" not in text
    assert "Not verified: these values are of one seed, and over-estimated" in text
    assert f"{program()} verify {copied}" in text
    assert "Control and oracle have not been trained." in text
    assert "Not verified: one training each" in text.partition(" of wall time")[0]  # in the headline
    assert f"--out {copied} --resume" in text


@pytest.mark.parametrize("what", ["no run", "no folder", "a file in the way", "a damaged verification"])
def test_bad_input_is_one_line(
    what: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [str(run.folder.path), "--out", str(tmp_path / "file")]
    match what:
        case "no run":
            arguments = [str(tmp_path)]
        case "no folder":
            arguments = [str(tmp_path / "nowhere")]
        case "a file in the way":
            (tmp_path / "file").write_text("")
        case "a damaged verification":
            copied = shutil.copytree(run.folder.path, tmp_path / "run", ignore=shutil.ignore_patterns("report*"))
            (copied / "verify.json").write_text("{")
            arguments = [str(copied)]
    monkeypatch.setattr(sys, "argv", ["cli.py", "report", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("error: ") and len(err.splitlines()) == 1


def test_the_python_door_draws_the_same_page(interrupted: Run, tmp_path: Path) -> None:
    again = ls.report(interrupted, out=str(tmp_path))
    assert again.file == tmp_path / "report.html"
    drawn = (interrupted.folder.path / "report.html", again.file)
    pages = [re.sub(r"Drawn [\d: +-]+", "", file.read_text()) for file in drawn]
    assert pages[0] == pages[1]


def test_a_folder_that_cannot_be_written_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(RunError, match="taken cannot be written"):
        ls.report(run, out=tmp_path / "taken")


# -- in a browser ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium that downloads nothing; the test is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    flags = ["headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
             "disable-background-networking", "disable-component-update"]  # fmt: skip
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    for flag in flags:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield started
    finally:
        started.quit()


def show(browser: Any, file: Path, width: int = 1280, scheme: str = "light") -> None:
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # empties it
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(file.as_uri())


def column(browser: Any, table: str, number: int) -> list[str]:
    script = f"return [...document.querySelectorAll('{table} tbody tr')].map(row => row.cells[{number}].textContent)"
    return browser.execute_script(script)  # type: ignore[no-any-return]


def click(browser: Any, selector: str) -> None:
    browser.execute_script(f"document.querySelector({json.dumps(selector)}).click()")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_a_browser_shows_it_without_a_word_and_asks_for_nothing(
    browser: Any, written: WrittenReport, width: int, scheme: str
) -> None:
    show(browser, written.file, width, scheme)
    pictures = browser.execute_script(
        "return [...document.querySelectorAll('.chart svg')].map(s => [s.className.baseVal, s.clientWidth])"
    )
    shown = [(kind, px) for kind, px in pictures if px > 0]
    assert [kind for kind, _ in shown] == [("narrow" if width < 600 else "wide")] * len(CHARTS)
    assert all(px <= width - 32 for _, px in shown)
    assert browser.get_log("browser") == []
    messages = [json.loads(row["message"])["message"] for row in browser.get_log("performance")]
    requests = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    urls = {r["request"]["url"] for r in requests if r["documentURL"].startswith("file:")}  # not Chromium's own new tab
    assert [url for url in urls if not url.startswith("data:")] == [written.file.as_uri()]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}[scheme]


def test_dark_pages_draw_in_other_colours(browser: Any, written: WrittenReport) -> None:
    for scheme, palette in (("light", LIGHT), ("dark", DARK)):
        show(browser, written.file, scheme=scheme)
        fills = browser.execute_script(
            "return [...document.querySelectorAll('#chart-front *')].map(mark => getComputedStyle(mark).fill)"
        )
        for colour in (palette.paper, palette.ink, palette.front, palette.seed, palette.rung(1, 3)):
            assert "rgb({}, {}, {})".format(*(int(colour[i : i + 2], 16) for i in (1, 3, 5))) in fills


@pytest.mark.parametrize("width", [1280, 360])
def test_a_finger_on_a_point_says_what_it_is(browser: Any, run: Run, written: WrittenReport, width: int) -> None:
    show(browser, written.file, width)
    best = run.pick("best")
    script = """
        const shown = (mark) => mark.getBoundingClientRect().width > 0 && mark.dataset.tip.startsWith(arguments[0]);
        const mark = [...document.querySelectorAll('#chart-front [data-tip]')].find(shown);
        mark.scrollIntoView();
        const box = mark.getBoundingClientRect();
        const [clientX, clientY] = [box.left + box.width / 2, box.top + box.height / 2];
        mark.dispatchEvent(new PointerEvent('pointerdown', {clientX, clientY, bubbles: true, pointerType: 'touch'}));
        const tip = document.getElementById('tip');
        const at = tip.getBoundingClientRect();
        return [tip.hidden, tip.textContent, at.left >= 0 && at.right <= document.documentElement.clientWidth];
    """
    hidden, text, is_inside = browser.execute_script(script, f"{best.candidate.name}: ")
    assert not hidden and is_inside
    assert text.startswith(f"{best.candidate.name}: {best.accuracy:.1f} %, {best.candidate.gflops:g} GFLOPs")


def test_on_a_phone_wide_tables_say_so_and_no_command_breaks_inside_an_option(
    browser: Any, written: WrittenReport
) -> None:
    show(browser, written.file, 360)
    cues = browser.execute_script(
        "return [...document.querySelectorAll('.scroll.wider')].map(box => getComputedStyle(box, '::before').content)"
    )
    assert len(cues) >= 4 and set(cues) == {'"slide for more →"'}
    words = browser.execute_script(
        "return [...document.querySelectorAll('.command span')].map(word => [word.textContent, word.clientHeight])"
    )
    options = [height for word, height in words if word.startswith("--")]
    assert len(options) > 8 and len(set(options)) == 1  # each on a line of its own


def test_a_click_sorts_a_table(browser: Any, written: WrittenReport) -> None:
    show(browser, written.file)
    before = column(browser, "#front table", 3)
    numbers = [float(text) for text in before if text != "–"]
    for order in (sorted(numbers, reverse=True), sorted(numbers)):
        click(browser, "#front th:nth-child(4) button")
        after = column(browser, "#front table", 3)
        assert [float(text) for text in after if text != "–"] == order
        assert after[-2:] == ["–", "–"]  # control and oracle have none, and stay below
    assert browser.find_element("css selector", "#front th:nth-child(4)").get_attribute("aria-sort") == "ascending"


def test_all_architectures_are_sorted_and_filtered(browser: Any, run: Run, written: WrittenReport) -> None:
    show(browser, written.file)
    names = {entry.candidate.name: entry for entry in run.entries}
    assert column(browser, "#all", 0) == list(names)
    click(browser, "#all th:nth-child(4) button")
    expected = sorted(names, key=lambda name: -names[name].candidate.gflops)
    assert column(browser, "#all", 3) == [f"{names[name].candidate.gflops:.5f}" for name in expected]
    browser.find_element("id", "words").send_keys("front")
    assert set(column(browser, "#all", 0)) == {entry.candidate.name for entry in run.front}
    browser.find_element("id", "words").clear()
    browser.find_element("css selector", "#status option[value=failed]").click()
    assert set(column(browser, "#all", 0)) == {name for name, entry in names.items() if entry.status == "failed"}


def test_without_a_script_the_front_is_still_there(browser: Any, written: WrittenReport) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, written.file)
        text = browser.find_element("tag name", "main").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "The front, cheapest first" in text
    assert "This table needs JavaScript; the same rows are in trials.csv" in text


def test_a_hostile_name_runs_nothing(browser: Any, hostile_run: Run, hostile: Path) -> None:
    show(browser, hostile)
    assert "gone" not in browser.title
    assert browser.get_log("browser") == []
    assert column(browser, "#all", 0)[0] == hostile_run.entries[0].candidate.name
