"""What clients may make nsqlookupd hold, unless it is told otherwise. NSQ has no such limits."""

__all__ = [
    "CONNECTIONS_MAX",
    "CONNECTIONS_PER_ADDRESS_MAX",
    "ENTRIES_MAX",
    "REGISTRATIONS_PER_PRODUCER_MAX",
    "WATCHES_MAX",
]

CONNECTIONS_MAX = 10_000  # each nsqd has one
CONNECTIONS_PER_ADDRESS_MAX = 1_000

# Entries stay when their producers go, so the first alone bounds nothing.
REGISTRATIONS_PER_PRODUCER_MAX = 100_000
ENTRIES_MAX = 1_000_000

WATCHES_MAX = 10_000
