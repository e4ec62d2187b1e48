"""A real NSQ cluster within a test's process, and a pytest plugin with fixtures of it."""
