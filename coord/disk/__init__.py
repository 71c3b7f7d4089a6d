"""One member's data folder: the write-ahead log, the snapshots, and whose they are. See README.md.

``coord.disk.storage`` is the face, ``coord.disk.real`` a real folder, ``coord.disk.errors`` what can go wrong.
"""
