"""`cli.py` with made-up trainings (chaos_jobs.py): the driver, its workers, the study and the files are real.

Nothing here imports torch, matplotlib or scipy, which would take most of the time: no export, no picture.
"""

import sys
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import chaos_jobs

from lstn_search.cli import main
from lstn_search.errors import CheckpointError
from lstn_search.jobs import launch
from lstn_search.pictures import front_plot
from lstn_search.ranking import facts
from lstn_search.runs import folder


def no_weights(*what: object, **options: object) -> None:
    """In the place of `write_export`, which would find nothing that was trained."""
    raise CheckpointError("what is made up has no weights")


if __name__ == "__main__":
    sys.modules["lstn_search.shipping.export"] = export = ModuleType("export")
    export.write_export = no_weights  # type: ignore[attr-defined]
    folder.hardware = dict
    front_plot.draw_front = lambda info, path: path.touch()
    facts.warnings = lambda run: ()
    launch.run_job = chaos_jobs.run_job
    main()
