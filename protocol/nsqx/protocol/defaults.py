"""What NSQ's programs have unless they are told otherwise, where more than one place needs it."""

__all__ = [
    "ADMIN_HTTP_PORT",
    "ADVERTISED_MAX",
    "DEFAULT_CLUSTER",
    "LOOKUPD_HTTP_PORT",
    "LOOKUPD_TCP_PORT",
    "LOOKUP_IDENTIFY_BYTES_MAX",
    "LOOKUP_LINE_BYTES_MAX",
    "MAX_BODY_SIZE",
    "MAX_MSG_SIZE",
    "MAX_MSG_TIMEOUT_MS",
    "MAX_RDY_COUNT",
    "MAX_REQ_TIMEOUT_MS",
    "MSG_TIMEOUT_MS",
    "NSQD_HTTPS_PORT",
    "NSQD_HTTP_PORT",
    "NSQD_TCP_PORT",
]

NSQD_TCP_PORT, NSQD_HTTP_PORT, NSQD_HTTPS_PORT = 4150, 4151, 4152
LOOKUPD_TCP_PORT, LOOKUPD_HTTP_PORT = 4160, 4161
ADMIN_HTTP_PORT = 4171

# Options of nsqd of the same names. A client assumes them of an nsqd that does not tell its own.
MAX_MSG_SIZE = 1024 * 1024
MAX_BODY_SIZE = 5 * 1024 * 1024
MAX_RDY_COUNT = 2500
MSG_TIMEOUT_MS = 60_000
MAX_MSG_TIMEOUT_MS = 900_000
MAX_REQ_TIMEOUT_MS = 3_600_000

# The cluster that directories belong to, and are looked for in, on the local network.
DEFAULT_CLUSTER = "default"

# What an nsqlookupd takes of one nsqd.
LOOKUP_LINE_BYTES_MAX = 16 * 1024  # the longest line anyone needs has 141: two names and a word
LOOKUP_IDENTIFY_BYTES_MAX = 32 * 1024  # with as many addresses as it may have, of full length
ADVERTISED_MAX = 64  # of one nsqd, which has an address or two in each network it is in
