"""Seeds of what is drawn: the same in every process, and no two alike."""

from __future__ import annotations

import hashlib


def mix(*parts: object) -> int:
    """A 63-bit seed from several values, the same in every process."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big") >> 1
