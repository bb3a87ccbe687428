"""One NewType for every kind of number, so that a slot is never taken for an id (docs/design.md, "Nouns")."""

from typing import NewType

CollectionId = NewType("CollectionId", int)
EntryId = NewType("EntryId", int)
"""Sequential from 1 in each collection, never used again."""
ValueId = NewType("ValueId", int)
"""A distinct value text or vector of a collection; many entries may share one."""
NodeId = NewType("NodeId", int)
Generation = NewType("Generation", int)
"""The tree's version: 0 before the first build, one more with each applied plan."""
Slot = NewType("Slot", int)
"""A position within a Block."""
LayerIndex = NewType("LayerIndex", int)
"""A layer of the language model, from 0."""
