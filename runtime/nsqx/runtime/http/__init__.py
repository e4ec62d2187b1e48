"""NSQ's HTTP rules: server, routes, query strings, JSON."""
