"""A whole cluster in one thread, from one seed: see `cluster`, and `docs/reliability.md`."""
