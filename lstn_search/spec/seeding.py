"""Seeds for single uses. No torch here."""

import hashlib

__all__ = ["seed_of"]


def seed_of(seed: int, *labels: object) -> int:
    """A 63-bit seed for one use, independent of all other uses: the same on every machine."""
    digest = hashlib.sha256(repr((seed, *labels)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
