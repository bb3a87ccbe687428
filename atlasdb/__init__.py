"""The storage engine: collections of KG2KV entries in LMDB under a tree, served over gRPC."""
