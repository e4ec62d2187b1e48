"""Commands that run things: a local cluster, a worker, a benchmark."""
