"""A plan for people: what is needed, whether it is here, and on what the figures rest."""

from collections.abc import Iterator

from atlasdb.engine.database import MAP_BYTES
from atlasdb.planning.building import STAGES
from atlasdb.planning.estimate import Plan
from atlasdb_contract.quantities import duration, microseconds, size

FOOTNOTE = """\
Bytes are those of records that the store's code wrote; times are a short trial's on this machine, and grow as
docs/plan.md says. Loading is of given vectors, within the server: neither the wire nor encoding is in it. A fetch is of
64 entries with the rows of one token; out of memory is a bound: no two things that it reads share a page."""


def text(plan: Plan) -> str:
    """Lines, the last without its end."""
    lines = [f"{shape_text(plan)}", ""]
    width = max(len(name) for name, _ in _facts(plan))
    lines += [f"{name:<{width}}  {value}" for name, value in _facts(plan)]
    return "\n".join([*lines, "", *warnings(plan), FOOTNOTE])


def shape_text(plan: Plan) -> str:
    """What is planned."""
    shape = plan.shape
    return (
        f"{shape.entries:,} entries, D = {shape.dimension}: {shape.heads:,} heads, {shape.slots:,} distinct keys, "
        f"{shape.values:,} distinct values, {shape.text_bytes:g} bytes of text each"
    )


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    disk, memory, load, fetch = plan.disk, plan.memory, plan.load, plan.fetch
    for name, held in disk.tables.items():
        yield f"disk: {name}", f"{size(held)}, {held / plan.shape.entries:.1f} bytes an entry"
    yield "disk, in use", f"{size(disk.in_use)}, {disk.in_use / plan.shape.entries:.0f} bytes an entry"
    yield "disk, file while built", f"{size(disk.peak)} of {size(plan.machine.room)} free here"
    yield "memory, serving", f"{size(memory.serving)}, {size(memory.kept)} of it by the size; and pages of the file:"
    yield "  for quick walks", f"{size(memory.node_pages)}, the nodes"
    yield "  for all of a fetch", f"{size(memory.all_pages)}, with postings and values"
    yield "memory, building", f"{size(memory.building)} more, of {size(plan.machine.memory)} here"
    yield "load", f"{duration(load.seconds)}; {load.rate:,.0f} entries a second, {load.last_rate:,.0f} at the end"
    if load.folds:
        yield "  folds beside it", f"{load.folds}, {duration(load.fold_seconds)} in all"
    yield "build", f"{duration(plan.build.seconds)}: {plan.nodes:,} INTER nodes, {plan.roots:,} ROOTs"
    for stage in STAGES:
        yield f"  {stage}", duration(plan.build.stages[stage])
    yield "fetch", f"{microseconds(fetch.warm_us)}; {microseconds(fetch.cold_us)} at most with no page in memory"
    yield (
        "  compares",
        f"{fetch.roots:,} ROOTs, {fetch.codes:,} codes, {fetch.nodes:,} nodes ({fetch.opened:,} opened), "
        f"{fetch.slots:,} slots",
    )
    yield "  reads", f"{size(fetch.bytes_read)}, {fetch.pages:,} pages at most"


def warnings(plan: Plan) -> list[str]:
    """What this machine lacks, and what the trial suffered from; an empty line after it."""
    found = []
    if plan.disk.peak > plan.machine.room:
        found.append(f"The disk is too small: {size(plan.disk.peak)} are needed, {size(plan.machine.room)} are free.")
    if plan.disk.peak > MAP_BYTES:
        found.append(f"The server needs a larger map: --map-bytes {2 * plan.disk.peak}.")
    if plan.memory.building + plan.memory.serving > plan.machine.memory:
        needed, there = size(plan.memory.building + plan.memory.serving), size(plan.machine.memory)
        found.append(f"A build does not fit into memory: {needed} are needed, there are {there}.")
    if plan.memory.node_pages > plan.machine.memory:
        found.append("The nodes do not fit into memory: fetches will read from the disk.")
    if plan.machine.busy >= plan.machine.cores:
        found.append(
            f"The {plan.machine.cores} cores had other work (load {plan.machine.busy:.1f}): times are less sure."
        )
    return [*found, ""] if found else []
