"""What to try next, and the search that does it."""
