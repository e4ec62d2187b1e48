"""What our daemons and tools share: options, logs, HTTP rules, addresses, starting and stopping."""
