"""Load generators for NSQ brokers, and the scenarios that measure one. See README.md."""
