"""Whoever looks at a cluster: what its daemons say, put together and judged."""
