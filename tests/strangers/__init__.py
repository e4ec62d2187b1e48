"""Strangers: whoever can reach the ports and has no credentials, each doing its worst."""
