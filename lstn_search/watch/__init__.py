"""Looking on: the console, tables, and the progress of what is under way, for the command line and for Python."""
