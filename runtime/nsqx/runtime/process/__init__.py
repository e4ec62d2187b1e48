"""A daemon's process: logs, start, signals, exit."""
