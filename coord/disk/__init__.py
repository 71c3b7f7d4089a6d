"""One member's data folder: the write-ahead log, the snapshots, and whose they are."""
