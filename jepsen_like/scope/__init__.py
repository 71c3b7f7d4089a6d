"""Exhaustive exploration of the real Raft core, and of the real replica, in small scopes. See README.md."""
