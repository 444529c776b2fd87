"""Pictures: the front, an architecture, images before and after the warp."""
