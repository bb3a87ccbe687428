"""The tree's mathematics (design (4)): pure numpy and numkong; no file and no socket.

`image` holds the nodes, `kmeans` and `build` plan them, `place` finds an entry's node, `descend` walks
down for a fetch, `check` says what is wrong with a tree.
"""
