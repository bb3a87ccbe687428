"""load: files into a collection."""

from argparse import Namespace
from dataclasses import asdict

from atlasdb_client import loader
from atlasdb_client.cli import output
from atlasdb_client.cli.admin import build_shown
from atlasdb_client.cli.collections import config_of
from atlasdb_client.client import connect
from atlasdb_client.progress import opened
from atlasdb_client.vectors import VectorFiles
from atlasdb_contract.command import complain
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.quantities import duration
from atlasdb_contract.types import NO_ENCODER, CollectionConfig


def load(args: Namespace) -> int:
    """Load, report, and build if asked."""
    vectors, config = _vectors(args), config_of(args)
    if args.encoder == NO_ENCODER:
        if vectors is None:
            raise InvalidArgument(
                "files of triples bring no vectors, so a collection without encoder can't be loaded from them alone; "
                "give their vectors with --keys and --values"
            )
        config = CollectionConfig(NO_ENCODER, vectors.dimension)
    with connect(args.server) as client:
        progress = opened("B")
        report = loader.load(client, args.files, args.collection, config, args.on_bad, progress, vectors=vectors)
        if args.build and not report.interrupted:
            build_shown(client, args.collection)
        entries = client.count(args.collection)
    if args.json:
        output.print_json(_json(args.collection, entries, report))
    else:
        _print(args.collection, entries, report)
    if report.interrupted:
        stored = output.plural(report.acked, "triple")
        complain(f"stopped; {stored} of the load are stored, and the same command continues")
        return 1
    if not report.acked:
        raise InvalidArgument(f"nothing was loaded; the first of the bad lines is {report.problems[0]}")
    return 0


def _vectors(args: Namespace) -> VectorFiles | None:
    """The files of --keys and --values."""
    if args.keys is None and args.values is None:
        return None
    if args.keys is None or args.values is None:
        raise InvalidArgument("--keys and --values go together: each triple needs a key and a value")
    return VectorFiles.open(args.keys, args.values)


def _print(collection: str, entries: int, report: loader.LoadReport) -> None:
    rate = report.acked / report.seconds if report.seconds else 0.0
    print(
        f"{collection}: {output.plural(report.acked, 'triple')} in {duration(report.seconds)} ({rate:,.0f}/s): "
        f"{output.plural(report.created, 'entry')} new, {output.plural(report.existing, 'triple')} there already; "
        f"{output.plural(entries, 'entry')} in all"
    )
    not_loaded = report.bad + report.refused
    if not_loaded:
        kept = len(report.problems)
        shown = "" if kept == not_loaded else f", the first {kept} of them above"
        print(f"not loaded: {output.plural(not_loaded, 'line')}{shown}")


def _json(collection: str, entries: int, report: loader.LoadReport) -> dict[str, object]:
    problems = [asdict(problem) for problem in report.problems]
    return {"collection": collection, "entries": entries} | asdict(report) | {"problems": problems}
