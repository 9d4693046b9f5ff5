"""The durable journal: the only buffer and the only spool."""
