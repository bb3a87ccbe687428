"""`atlasdb plan`: what a collection of some size needs on this machine, before there is one; docs/plan.md.

shape      what is to be stored: numbers of entries, heads, keys, values, bytes of texts
drawn      a small world of that shape, of random vectors
disk       bytes of each table: a few records, written by the store's own code
clock      time less what other programs took of it
machine    this machine's speed at single things
trials     a short trial of everything on this machine: load, build, fetch, memory and disk
loading, growing, building, fetching, memory    from the trial's figures to those of the size that is planned
estimate   puts them together; `report` prints them; `command` is the way in
"""
