"""A seeded mutator of files: the damage that disks, networks, bad encoders and attackers do to bytes."""

import random
from collections.abc import Callable, Sequence

HEADER_BYTES = 600  # where most formats keep their sizes and counts
EXTREMES = (0, 1, -1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63)
MAX_OPERATIONS = 3

Mutation = Callable[[bytearray, bytes, random.Random], None]


def mutant(originals: Sequence[bytes], source: int, key: str) -> bytes:
    """Return a mutant of `originals[source]`: the same for the same key, and different from the original."""
    rng = random.Random(key)
    content = bytearray(originals[source])
    while content == originals[source]:
        for _ in range(rng.randint(1, MAX_OPERATIONS)):
            rng.choice(MUTATIONS)(content, rng.choice(originals), rng)
    return bytes(content)


def _block(content: bytearray, rng: random.Random) -> slice:
    """Return a random part of the content, mostly a short one."""
    start = rng.randrange(len(content) + 1)
    return slice(start, start + min(2 ** rng.randrange(14), len(content) - start))


def _flip_bits(content: bytearray, _: bytes, rng: random.Random) -> None:
    for _bit in range(2 ** rng.randrange(6)):
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _fill_run(content: bytearray, _: bytes, rng: random.Random) -> None:
    block = _block(content, rng)
    content[block] = bytes([rng.choice((0, 0x20, 0x7F, 0x80, 0xFF))]) * (block.stop - block.start)


def _truncate(content: bytearray, _: bytes, rng: random.Random) -> None:
    del content[rng.randrange(len(content) + 1) :]


def _remove_block(content: bytearray, _: bytes, rng: random.Random) -> None:
    del content[_block(content, rng)]


def _duplicate_block(content: bytearray, _: bytes, rng: random.Random) -> None:
    block = _block(content, rng)
    content[block.stop : block.stop] = content[block] * rng.choice((1, 1, 1, 20))


def _swap_blocks(content: bytearray, _: bytes, rng: random.Random) -> None:
    first, second = sorted((_block(content, rng), _block(content, rng)), key=lambda block: block.start)
    if first.stop <= second.start:
        content[first.start : second.stop] = content[second] + content[first.stop : second.start] + content[first]


def _overwrite_integer(content: bytearray, _: bytes, rng: random.Random) -> None:
    width = rng.choice((1, 2, 4, 8))
    limit = len(content) if rng.random() < 0.3 else min(len(content), HEADER_BYTES)
    start = rng.randrange(limit + 1)
    value = (rng.choice(EXTREMES) % (1 << 8 * width)).to_bytes(width, rng.choice(("big", "little")))
    content[start : start + width] = value


def _splice(content: bytearray, other: bytes, rng: random.Random) -> None:
    cut, start = rng.randrange(len(content) + 1), rng.randrange(len(other) + 1)
    content[cut:] = other[start:]


def _append_rubbish(content: bytearray, _: bytes, rng: random.Random) -> None:
    content += rng.randbytes(2 ** rng.randrange(14))


MUTATIONS: tuple[Mutation, ...] = (
    _flip_bits,
    _fill_run,
    _truncate,
    _remove_block,
    _duplicate_block,
    _swap_blocks,
    _overwrite_integer,
    _overwrite_integer,  # twice: it reaches the most code
    _splice,
    _append_rubbish,
)
