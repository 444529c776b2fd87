"""A run as one HTML page: facts first (facts/), then charts, then sections."""
