"""Addresses, name resolution and TLS contexts; the standard library only."""
