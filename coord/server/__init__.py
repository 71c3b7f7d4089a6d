"""The shell on trio: sockets, disks, clocks and dice around the pure replica. Kept thin; decides nothing."""
