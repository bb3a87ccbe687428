"""The proof that a store can be trusted: suites that break it in every way they can, for as long as asked.

`python -m tests.soak` is the command (`make soak`). A suite is a row of *episodes*, each made by one seed alone, so
that a failure is replayed by its seed; an episode counts *rounds*: kills, disk images, operations, inputs.

    __main__    the command line              kills       SIGKILL at random moments
    suites      the table of suites           powercut    disk images with unsynced writes dropped, torn, reordered
    runner      episodes one after another    model       operations beside a dictionary
    tally       what a suite counts           corruption  bit flips, overwritten pages, truncations
    report      the table of the proof        diskfull    a small file system that fills
    ledger      what a store must hold        fuzz        messages, files and rows of no sense
    forked      children that may die         churn       everything replaced, again and again
"""
