"""What is planned: a collection by its numbers."""

from dataclasses import dataclass, replace

from atlasdb.engine.collections import DIMENSION_LIMIT
from atlasdb_contract.errors import InvalidArgument

SLOTS_LIMIT = (1 << 32) - 2
"""A tree names its slots by u32, of which the last means none."""
NODES_LIMIT = 1 << 31
"""A tree names its INTER nodes by i32."""

LEAST_SHARE = 1e-4
"""With fewer distinct keys a record of slots would be too long."""


@dataclass(frozen=True, slots=True)
class Shape:
    """M entries of D dimensions. The defaults are those of three real graphs with their inverse entries: 1,478,756
    entries of 121,855 heads, 556,665 distinct keys, as many values as heads, and 57 bytes of text (docs/plan.md)."""

    entries: int
    dimension: int = 384
    text_bytes: float = 57.0
    """UTF-8 of head, relation and tail of an entry, on average."""
    entries_a_head: float = 12.1
    distinct_keys: float = 0.376
    """Distinct (head, key) in parts of the entries."""
    distinct_values: float = 0.082
    """The same of values."""

    def __post_init__(self) -> None:
        if self.entries < 1:
            raise InvalidArgument(f"a collection of {self.entries:,} entries needs no plan: give 1 or more")
        if not 1 <= self.dimension <= DIMENSION_LIMIT:
            raise InvalidArgument(f"the dimension is {self.dimension}; it goes from 1 to {DIMENSION_LIMIT}")
        if not 3 <= self.text_bytes <= 1 << 20:
            raise InvalidArgument(f"{self.text_bytes:g} bytes of text an entry: it goes from 3 to {1 << 20:,}")
        for what, share in (("keys", self.distinct_keys), ("values", self.distinct_values)):
            if not LEAST_SHARE <= share <= 1:
                raise InvalidArgument(f"the share of distinct {what} is {share:g}; it goes from {LEAST_SHARE:g} to 1")
        if not self.entries_a_head >= 1:
            raise InvalidArgument(f"{self.entries_a_head:g} entries a head: a head has 1 or more")
        if self.distinct_keys * self.entries_a_head < 0.999:
            raise InvalidArgument(
                f"{self.entries_a_head:g} entries a head, {self.distinct_keys:g} distinct keys an entry: "
                "less than one key a head; raise one of the two"
            )
        if self.slots > SLOTS_LIMIT or self.heads >= NODES_LIMIT:
            raise InvalidArgument(
                f"one tree has at most {SLOTS_LIMIT:,} slots and {NODES_LIMIT - 1:,} heads, not {self.slots:,} and "
                f"{self.heads:,}: plan several collections"
            )

    @property
    def heads(self) -> int:
        """At least 1."""
        return max(1, round(self.entries / self.entries_a_head))

    @property
    def slots(self) -> int:
        """K, distinct keys of heads."""
        return max(self.heads, round(self.entries * self.distinct_keys))

    @property
    def values(self) -> int:
        """Distinct ones."""
        return max(1, round(self.entries * self.distinct_values))

    def cut(self, entries: int) -> "Shape":
        """The same, no larger than so many entries."""
        return self if self.entries <= entries else replace(self, entries=entries)
