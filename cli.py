"""The door: `python cli.py --help`. The same application is installed as `lstn-search`."""

from lstn_search.cli import main

if __name__ == "__main__":
    main()
