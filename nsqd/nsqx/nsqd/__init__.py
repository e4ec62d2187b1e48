"""The broker: topics on a crash-safe log, channels over it, NSQ's protocol at the edge."""
