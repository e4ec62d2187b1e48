"""What clients may make nsqlookupd hold, unless it is told otherwise. NSQ has no such limits."""

__all__ = [
    "CONNECTIONS_MAX",
    "CONNECTIONS_PER_ADDRESS_MAX",
    "ENTRIES_MAX",
    "REGISTRATIONS_PER_ADDRESS_MAX",
    "REGISTRATIONS_PER_PRODUCER_MAX",
    "STRANGERS_MAX",
    "UNUSED_MAX",
    "WATCHES_MAX",
]

CONNECTIONS_MAX = 10_000  # each nsqd has one
CONNECTIONS_PER_ADDRESS_MAX = 1_000

STRANGERS_MAX = 150  # of these, who have not said who they are; an nsqd does so at once

# Entries stay when their producers go, so the first two alone bound nothing. An entry is some
# 500 bytes, a registration 150.
REGISTRATIONS_PER_PRODUCER_MAX = 20_000
REGISTRATIONS_PER_ADDRESS_MAX = 20_000
ENTRIES_MAX = 1_000_000
UNUSED_MAX = 5_000  # topics that no producer has

WATCHES_MAX = 10_000
