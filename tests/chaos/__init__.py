"""Real processes, files and clients, hurt for some minutes: ``python -m tests.chaos --help``."""
