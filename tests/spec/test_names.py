"""Dataset names are known, and checked, without torch."""

import subprocess
import sys

import pytest

from lstn_search.errors import DataError
from lstn_search.spec.names import DATASET_NAMES, check_name


def test_every_name_in_the_help_text_is_accepted() -> None:
    for name in DATASET_NAMES:
        check_name(name.replace("PATH", "somewhere"))


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(DataError, match=r"^unknown dataset 'caltec101'; did you mean 'caltech101'\?$"):
        check_name("caltec101")


@pytest.mark.parametrize("name", ["folder:", ""])
def test_a_name_without_its_path_is_refused(name: str) -> None:
    with pytest.raises(DataError):
        check_name(name)


def test_the_names_cost_no_import_of_torch() -> None:
    code = "import sys, lstn_search.data; lstn_search.data.DATASET_NAMES; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
