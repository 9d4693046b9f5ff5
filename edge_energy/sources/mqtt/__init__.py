"""The MQTT source: one broker, its session, and what its messages mean."""
