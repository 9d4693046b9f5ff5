"""Shelly devices by network: read at their address or by their outbound WebSocket, found, and set up."""
