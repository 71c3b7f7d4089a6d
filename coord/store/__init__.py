"""The replicated state machine: the tree, the sessions, the history. Pure; knows nothing of consensus."""
