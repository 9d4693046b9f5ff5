"""Day two: back up, restore, reset, and what to send to whoever helps. Works on files, not through the daemon."""
