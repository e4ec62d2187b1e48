"""nsqd's HTTP API: NSQ's endpoints, and those that the log makes possible."""
