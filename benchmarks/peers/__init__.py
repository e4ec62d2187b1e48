"""The same work for other message brokers, by turns with ours. See ../README.md."""
