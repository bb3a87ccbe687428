"""The store: LMDB, which nothing else imports. `store` opens a folder, `view` reads, `writer` writes."""
