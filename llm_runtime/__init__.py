"""The LLM runtime: a transformers model that attends to a store's entries over gRPC."""
