"""The doors: HTTP and the local socket."""
