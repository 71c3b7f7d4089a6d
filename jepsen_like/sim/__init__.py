"""The deterministic simulator: real replicas, real codecs, real storage, in virtual time, from one seed."""
