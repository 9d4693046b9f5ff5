"""The energy appliance daemon: sources, one durable journal, sinks."""

__version__ = "0.1.0"
