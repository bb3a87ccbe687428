"""The gRPC server: three services over one Database, beside gRPC's own health and reflection."""
