"""
What the broker remembers: segments of wire frames, their index, journals and checkpoints.

Reaches files only through `storage.Storage`, which has a real implementation at the edge and a
simulated one in the tests.
"""
