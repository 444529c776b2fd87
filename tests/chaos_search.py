"""`cli.py` with made-up trainings (chaos_jobs.py): the driver, its workers, the study and the files are real."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import chaos_jobs

from lstn_search.cli import main
from lstn_search.jobs import launch

if __name__ == "__main__":
    launch.run_job = chaos_jobs.run_job
    main()
