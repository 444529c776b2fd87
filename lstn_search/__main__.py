"""`python -m lstn_search`: the same application as `lstn-search` and `python cli.py`."""

from lstn_search.cli import main

if __name__ == "__main__":
    main()
