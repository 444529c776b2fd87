"""The facts of a report, before anything is drawn."""
