"""Datasets by torchvision's downloads, or a line that says how to get them by hand."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torchvision

from lstn_search.cli import main
from lstn_search.data.download import download
from lstn_search.errors import DataError, SettingError


@pytest.mark.parametrize(("name", "dataset"), [("caltech101", "Caltech101"), ("cifar10", "CIFAR10")])
@pytest.mark.parametrize(
    "trouble", [URLError("no route to host"), RuntimeError("File not found or corrupted."), ImportError("needs gdown")]
)
def test_without_network_the_steps_are_said(
    name: str, dataset: str, trouble: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(root: str, *, download: bool) -> None:
        assert download
        raise trouble

    monkeypatch.setattr(torchvision.datasets, dataset, fails)
    with pytest.raises(
        DataError, match=rf"^{name} cannot be downloaded into .*{tmp_path.name}.* or unpack .*tar\.gz"
    ) as error:
        download(name, tmp_path)
    assert "\n" not in str(error.value)
    assert str(getattr(trouble, "reason", trouble)) in str(error.value)


def test_torchvision_puts_it_where_it_is_then_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", lambda root, *, download: seen.append((root, download)))
    monkeypatch.setattr("sys.argv", ["lstn-search", "download", "cifar10", "--data-dir", str(tmp_path / "new")])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert seen == [(str(tmp_path / "new"), True)] and (tmp_path / "new").is_dir()


@pytest.mark.parametrize(
    ("name", "words"), [("glyphs", "needs no download"), ("tsrd", "tsrd"), ("folder:x", "needs no")]
)
def test_what_torchvision_does_not_offer_is_refused(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=f"cannot be downloaded; .*{words}"):
        download(name, tmp_path)
