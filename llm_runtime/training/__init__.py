"""Training a reader: a small model together with its adapter, on a graph's facts."""
