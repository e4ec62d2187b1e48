"""nsqd as a client of its nsqlookupds: where they are, what they are told."""
