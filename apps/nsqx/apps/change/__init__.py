"""Commands that change something: publish, move a channel."""
