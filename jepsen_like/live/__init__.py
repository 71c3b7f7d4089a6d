"""Live torture: real members as processes, real sockets and disks, real clients. See README.md."""
