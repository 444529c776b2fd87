"""A search's folder: its lock, its manifest, and what is read back from it."""
