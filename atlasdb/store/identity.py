"""What makes two triples, or two values, the same.

A triple's hash finds candidates, which are then compared; so equal hashes do no harm. A value's identity decides.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from atlasdb.format import IDENTITY_BYTES
from atlasdb_contract.types import Vectors

_SALT = b"atlasdb 1"


class TripleKey(NamedTuple):
    """A triple's identity and its hash, u64."""

    hash: int
    triple: tuple[str, str, str]


def triple_key(head: str, relation: str, tail: str) -> TripleKey:
    """The identity of a triple."""
    triple = (head, relation, tail)
    return TripleKey(_hash("\0".join(triple)), triple)


@lru_cache(4096)
def subject_hash(subject: str) -> int:
    """u64: entries of one subject stand together in the tree. Equal hashes of two subjects do no harm."""
    return _hash(subject)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8, key=_SALT).digest(), "little")


def text_identity(text: str) -> bytes:
    """The 16-byte identity of a value that the server encodes from a text."""
    return blake2b(b"t" + text.encode(), digest_size=IDENTITY_BYTES, key=_SALT).digest()


def vector_identities(vectors: Vectors) -> Sequence[bytes]:
    """The 16-byte identity of each value that was given as a vector."""
    rows, scales, size = vectors.data.tobytes(), vectors.scales.tobytes(), vectors.dimension
    contents = (b"v" + scales[4 * i : 4 * i + 4] + rows[i * size : (i + 1) * size] for i in range(len(vectors)))
    return [blake2b(content, digest_size=IDENTITY_BYTES, key=_SALT).digest() for content in contents]
