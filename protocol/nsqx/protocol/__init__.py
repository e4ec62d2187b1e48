"""
The bytes of NSQ: commands, frames, messages, names, errors, negotiation, compression.

Nothing here does I/O, reads a clock or knows what a topic is. Every other component builds on
this one, and it imports none of them.
"""
