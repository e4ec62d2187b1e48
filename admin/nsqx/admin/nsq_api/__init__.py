"""NSQ's own API of nsqadmin, asked anew for every request."""
