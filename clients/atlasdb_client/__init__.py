"""The Python client of atlasdb.

    from atlasdb_client import Triple, connect

    with connect("127.0.0.1:7420") as client:
        client.create_collection("people", if_missing=True)
        acks = list(client.insert("people", [("Ada Lovelace", "profession", "mathematician")]))
        hits = client.search("people", "what did Ada Lovelace do?", k=5)

Every failure is an `atlasdb_contract.errors.AtlasError`. Names are imported at first use, so that
importing this package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from atlasdb_contract.polling import poll_in_place

if TYPE_CHECKING:
    from atlasdb_client.client import Client, connect
    from atlasdb_client.fetch import FetchStream
    from atlasdb_client.loader import LoadReport, load
    from atlasdb_contract.types import Beams, CollectionConfig, Triple, Vectors

__all__ = ["Beams", "Client", "CollectionConfig", "FetchStream", "LoadReport", "Triple", "Vectors", "connect", "load"]

_HOMES = {
    "Client": "atlasdb_client.client",
    "connect": "atlasdb_client.client",
    "FetchStream": "atlasdb_client.fetch",
    "LoadReport": "atlasdb_client.loader",
    "load": "atlasdb_client.loader",
    "Beams": "atlasdb_contract.types",
    "CollectionConfig": "atlasdb_contract.types",
    "Triple": "atlasdb_contract.types",
    "Vectors": "atlasdb_contract.types",
}


poll_in_place()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
