"""What install.sh does in Python because a shell does it badly: configuration, health, the journal at an upgrade."""
