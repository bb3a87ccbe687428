"""The engine: operations on collections, each in a file of its name. `database` is the way in."""
