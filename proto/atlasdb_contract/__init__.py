"""The contract of atlasdb: protos, types, ids, errors and the codec between them."""
