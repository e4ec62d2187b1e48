"""
Consumes a channel with pynsq, unmodified, in a process of its own.

    python pynsq_reader.py TOPIC CHANNEL LOOKUPD [LOOKUPD ...]

Writes each message to stdout, as its id, the length of its body as uint32, and the body, and then
finishes it.
"""

import struct
import sys

import nsq

_LENGTH = struct.Struct(">I")


def main() -> None:
    topic, channel, *lookupds = sys.argv[1:]
    output = sys.stdout.buffer

    def handle(message: nsq.Message) -> bool:
        output.write(message.id + _LENGTH.pack(len(message.body)) + message.body)
        output.flush()
        return True

    nsq.Reader(
        topic,
        channel,
        message_handler=handle,
        lookupd_http_addresses=[f"http://{address}" for address in lookupds],
        lookupd_poll_interval=1,
        max_in_flight=200,
    )
    nsq.run()


if __name__ == "__main__":
    main()
