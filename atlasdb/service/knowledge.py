"""The Knowledge service: collections and the triples in them."""

from collections.abc import Iterator, Sequence

import grpc

from atlasdb.engine.database import Database
from atlasdb.engine.read import EntryFields
from atlasdb.service.insert import IN_HAND_BYTES, InsertStream, triples_of
from atlasdb.service.lifetime import Lifetime
from atlasdb.service.limits import IDS, TEXTS, at_most, check_reply, check_triples
from atlasdb.service.room import Room
from atlasdb_contract import codec
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.ids import EntryId
from atlasdb_contract.types import Entry, Vectors
from atlasdb_contract.v1 import knowledge_pb2 as kpb
from atlasdb_contract.v1 import knowledge_pb2_grpc as kgrpc

# ruff: noqa: N802, D102 - methods are named, and described, in knowledge.proto
Context = grpc.ServicerContext


class Knowledge(kgrpc.KnowledgeServicer):
    """Each method: checked, asked of the Database, answered. Errors go up to service/status.py."""

    def __init__(self, database: Database, lifetime: Lifetime) -> None:
        self._database = database
        self._lifetime = lifetime
        self._in_hand = Room(IN_HAND_BYTES)

    def CreateCollection(self, request: kpb.CreateCollectionRequest, _: Context) -> kpb.Collection:
        config = codec.config_from_proto(request.config)
        quota = codec.quota_from_proto(request.quota)
        made = self._database.create_collection(request.name, config, request.if_missing, quota)
        return codec.collection_to_proto(made)

    def ListCollections(self, _request: kpb.ListCollectionsRequest, _: Context) -> kpb.ListCollectionsReply:
        collections = self._database.list_collections()
        return kpb.ListCollectionsReply(collections=map(codec.collection_to_proto, collections))

    def DropCollection(self, request: kpb.DropCollectionRequest, _: Context) -> kpb.DropCollectionReply:
        return kpb.DropCollectionReply(entries=self._database.drop_collection(request.name))

    def SetQuota(self, request: kpb.SetQuotaRequest, _: Context) -> kpb.Collection:
        entries = request.entries if request.HasField("entries") else None
        size = request.bytes if request.HasField("bytes") else None
        return codec.collection_to_proto(self._database.set_quota(request.name, entries, size))

    def Insert(self, requests: Iterator[kpb.InsertRequest], _: Context) -> Iterator[kpb.InsertAck]:
        return InsertStream(self._database, self._lifetime, self._in_hand, requests).acks()

    def Delete(self, request: kpb.DeleteRequest, _: Context) -> kpb.DeleteReply:
        at_most(IDS, request.ids, "ids")
        check_triples(request.triples)
        deleted, missing = self._database.delete(request.collection, request.ids, request.triples).result()
        return kpb.DeleteReply(deleted=deleted, missing=missing)

    def Get(self, request: kpb.GetRequest, _: Context) -> kpb.GetReply:
        at_most(IDS, request.ids, "ids")
        entries = self._database.get(request.collection, request.ids, fields_from_proto(request.fields))
        keys, values = stacked(entries)
        reply = kpb.GetReply(entries=map(codec.entry_to_proto, entries), keys=keys, values=values)
        check_reply(reply)
        return reply

    def Find(self, request: kpb.FindRequest, _: Context) -> kpb.FindReply:
        triples = triples_of(request)
        if not isinstance(triples, TripleColumns):
            triples = TripleColumns.of((triple.head, triple.relation, triple.tail) for triple in triples)
        return kpb.FindReply(ids=codec.ids_to_bytes(self._database.find(request.collection, triples)))

    def Scan(self, request: kpb.ScanRequest, _: Context) -> Iterator[kpb.ScanChunk]:
        chunks = self._database.scan(
            request.collection,
            EntryId(request.after),
            request.limit,
            fields_from_proto(request.fields),
            request.head,
            request.relation,
        )
        for entries in chunks:
            with self._lifetime.work():
                keys, values = stacked(entries)
                yield kpb.ScanChunk(entries=map(codec.entry_to_proto, entries), keys=keys, values=values)

    def Count(self, request: kpb.CountRequest, _: Context) -> kpb.CountReply:
        return kpb.CountReply(entries=self._database.count(request.collection))

    def Search(self, request: kpb.SearchRequest, _: Context) -> kpb.SearchReply:
        hits = self._database.search(request.collection, request.text, request.k, request.exact)
        reply = kpb.SearchReply(
            hits=[kpb.SearchReply.Hit(entry=codec.entry_to_proto(hit.entry), cosine=hit.cosine) for hit in hits]
        )
        check_reply(reply)
        return reply

    def Encode(self, request: kpb.EncodeRequest, _: Context) -> kpb.Vectors:
        at_most(TEXTS, request.texts, "texts")
        return codec.vectors_to_proto(self._database.encode(request.collection, request.texts))


def fields_from_proto(message: kpb.EntryFields) -> EntryFields:
    """What a reply should say of each entry."""
    return EntryFields(message.texts, message.keys, message.values)


def stacked(entries: Sequence[Entry]) -> tuple[kpb.Vectors | None, kpb.Vectors | None]:
    """The key and the value vectors of entries, where they were asked for."""
    keys, values = codec.entries_to_vectors(entries, "key"), codec.entries_to_vectors(entries, "value")

    def message(vectors: Vectors | None) -> kpb.Vectors | None:
        return None if vectors is None else codec.vectors_to_proto(vectors)

    return message(keys), message(values)
