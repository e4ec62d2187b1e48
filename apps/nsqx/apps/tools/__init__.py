"""The command-line tools with the names, flags and texts of NSQ's."""
