"""One member's mind, pure: Raft, the store, sessions' leases, reads, watches, behind ``step`` and outputs."""
