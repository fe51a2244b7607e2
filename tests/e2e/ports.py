"""Ports for what a test starts."""

import socket


def free_port() -> int:
    """A port on 127.0.0.1 that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
