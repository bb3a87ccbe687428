"""What one request may ask for, so that its answer stays below the message limit and its cost bounded."""

from collections.abc import Sequence, Sized

import numpy as np
from google.protobuf.message import Message

from atlasdb_contract.codec import CHUNK_COLUMNS, CHUNK_TRIPLES, MESSAGE_LIMIT
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.v1 import knowledge_pb2 as kpb
from atlasdb_contract.v1 import retrieval_pb2 as rpb

TRIPLES = CHUNK_TRIPLES
"""Triples in one Insert or Delete request."""
COLUMNS = CHUNK_COLUMNS
"""Triples in one Insert request that has them as columns."""
IDS = 4096
"""Ids in one Get or Delete request: with both vectors their entries fill a quarter of a message."""
TEXTS = 1024
"""Texts in one Encode request."""
TRIPLE_BYTES = 1 << 20
"""One triple with its source and metadata: a Scan sends its parts twice, as triple and as texts."""


def at_most(limit: int, items: Sized, what: str) -> None:
    """InvalidArgument when a request holds more than it may."""
    if len(items) > limit:
        raise InvalidArgument(f"{len(items)} {what} in one request; send at most {limit}, and the rest in further ones")


def check_triples(triples: Sequence[kpb.Triple]) -> None:
    """InvalidArgument for too many triples or one too large."""
    at_most(TRIPLES, triples, "triples")
    for position, triple in enumerate(triples):
        if (size := triple.ByteSize()) > TRIPLE_BYTES:
            raise InvalidArgument(f"triple {position} holds {size} bytes; the limit is {TRIPLE_BYTES}: shorten it")


def check_columns(columns: TripleColumns) -> None:
    """The same for triples that came as columns."""
    at_most(COLUMNS, columns.lengths, "triples")
    sizes = columns.lengths.sum(axis=1, dtype=np.int64)
    if len(sizes) and (size := int(sizes.max())) > TRIPLE_BYTES:
        raise InvalidArgument(
            f"triple {int(sizes.argmax())} holds {size} bytes; the limit is {TRIPLE_BYTES}: shorten it"
        )


def check_explain(request: rpb.FetchRequest) -> None:
    """InvalidArgument when a fetch asks for an explanation that there is not."""
    if not request.explain:
        raise InvalidArgument("entries are named to be explained, but explain is not set; set it, or name none")
    if request.exact:
        raise InvalidArgument("an exact fetch compares every key and has no descent to explain; ask for one of the two")


def check_reply(reply: Message) -> None:
    """InvalidArgument for an answer above the message limit, before gRPC refuses to send it."""
    if (size := reply.ByteSize()) > MESSAGE_LIMIT:
        raise InvalidArgument(f"the answer has {size} bytes, the limit is {MESSAGE_LIMIT}; ask for fewer")
