"""Triples to vectors: KG2KV (`phrases`, with its words, rules and lexicon) and the frozen encoder (`encoder`)."""
