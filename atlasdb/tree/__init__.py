"""The tree's mathematics (design (4)): numpy and compiled loops; no file and no socket.

`build` plans a tree: `whiten` measures, `means` makes nodes, `kmeans` finds ROOTs, `graph` links. `image` is what a
descent reads: `walking` walks, `codes` spare it vectors, `scoring` and `rank` choose entries. `check` says what is
wrong with a tree.
"""
