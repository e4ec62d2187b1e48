"""What is read from the kernel about a process, with this one as the example."""

import os
import socket
import time

import pytest

from benchmarks.usage import BrokerProcess, find_listener


def test_cpu_time_is_that_of_the_process() -> None:
    process = BrokerProcess(os.getpid())
    before_ns = time.process_time_ns()
    measured_ns = process.cpu_time().total_ns
    assert before_ns <= measured_ns <= time.process_time_ns()


def test_peak_memory_is_at_least_what_is_in_use() -> None:
    process = BrokerProcess(os.getpid())
    in_use = process.rss_bytes()
    assert process.rss_peak_bytes() >= in_use > 1_000_000


def test_listener_is_found_by_its_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert find_listener(port) == os.getpid()
    with pytest.raises(LookupError, match=f"port {port}"):
        find_listener(port)
