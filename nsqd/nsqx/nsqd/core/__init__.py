"""
What the broker decides: topics, channels, in-flight, deferral, dispatch.

Pure and synchronous: no asyncio, no sockets, no clock, no randomness of its own. Time is an
argument, storage and randomness are handed in, so a state change is atomic and a whole cluster
runs in one deterministic simulation.
"""
