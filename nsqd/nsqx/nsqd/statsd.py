"""statsd (metrics section 1)."""

__all__ = ["prefix_of"]


def prefix_of(pattern: str, node: str) -> str:
    """Return what the names of a node, ``host:port``, begin with, up to a dot."""
    prefix = pattern.replace("%s", node.replace(".", "_").replace(":", "_"))
    return prefix if not prefix or prefix.endswith(".") else prefix + "."
