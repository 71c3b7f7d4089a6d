"""Bytes to messages and back, sans IO. Floor 2: knows the shapes of what it carries, and cbor2 in one file."""
