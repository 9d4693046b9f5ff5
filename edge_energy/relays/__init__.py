"""Relays: who may switch what and when, the drivers that do it, and the audit of it."""
