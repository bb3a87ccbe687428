"""What of a damaged record fetches are to leave out, by the checksum of each of its rows."""

from contextlib import suppress

import numpy as np

from atlasdb import crc, matrices
from atlasdb.store.registry import Out
from atlasdb_contract.errors import DataLoss


def slots_of(dimension: int, key: bytes, record: memoryview) -> list[Out]:
    """The slots of a damaged record that fetches are to leave out; those that can't be told apart they find out."""
    with suppress(DataLoss):
        slots = matrices.lent_slots(dimension, key, record)
        checks, seals = matrices.slot_checks(dimension, key, record)
        bad = crc.of_keys(slots.subjects, slots.keys) != checks
        owners = np.repeat(np.arange(len(slots)), np.diff(slots.starts))
        bad[owners[crc.of_entries(slots.ids, slots.value_ids, checks[owners]) != seals]] = True
        return [Out("postings", key, row) for row in np.flatnonzero(bad).tolist()]
    return []


def values_of(dimension: int, key: bytes, record: memoryview) -> list[Out]:
    """The values of a damaged record that fetches are to leave out."""
    with suppress(DataLoss):
        _, vectors = matrices.lent_values(dimension, key, record)
        first = int.from_bytes(key, "big")
        ids = np.arange(first, first + len(vectors), dtype=np.uint64)
        checks = np.frombuffer(record, "<u4", len(ids), matrices.value_offsets(len(ids)).checks)
        return [Out("values", key, row) for row in np.flatnonzero(crc.of_values(ids, vectors) != checks).tolist()]
    return []
