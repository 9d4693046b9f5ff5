"""Google Pub/Sub: what the sink, the source of commands, `create-topics` and `tail` share."""
