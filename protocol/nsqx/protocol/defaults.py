"""What NSQ's programs have unless they are told otherwise, where more than one place needs it."""

__all__ = [
    "MAX_BODY_SIZE",
    "MAX_MSG_SIZE",
    "MAX_MSG_TIMEOUT_MS",
    "MAX_RDY_COUNT",
    "MAX_REQ_TIMEOUT_MS",
    "MSG_TIMEOUT_MS",
]

# Options of nsqd of the same names. A client assumes them of an nsqd that does not tell its own.
MAX_MSG_SIZE = 1024 * 1024
MAX_BODY_SIZE = 5 * 1024 * 1024
MAX_RDY_COUNT = 2500
MSG_TIMEOUT_MS = 60_000
MAX_MSG_TIMEOUT_MS = 900_000
MAX_REQ_TIMEOUT_MS = 3_600_000
