"""What generators know of other brokers, with canned bytes; and each broker that is installed."""

import socket
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from benchmarks.peers.__main__ import main
from benchmarks.peers.beanstalkd import BeanstalkdSpeech
from benchmarks.peers.cells import CELLS, FILL, Cell, Durability
from benchmarks.peers.comparison import Bench, Pairing, Run
from benchmarks.peers.generator import PublishLoad, publish
from benchmarks.peers.nats import NatsSpeech
from benchmarks.peers.nsq import NsqSpeech
from benchmarks.peers.peer import OURS, PEERS, Peer
from benchmarks.peers.redis import RedisSpeech
from benchmarks.peers.speech import BODY, Dialogue, Speech, Taker
from benchmarks.peers.table import doubtful, tables
from benchmarks.wire import FRAME_HEADER, MESSAGE, OK_FRAME, BrokerError
from benchmarks.worker import Outcome, Pipe

DELIVER = next(cell for cell in CELLS if cell.takes)
ONE_BY_ONE = Cell("one", 2, messages=50)
SCALE = 0.002
OWN_NSQD = str(Path(sysconfig.get_path("scripts")) / "nsqd")


class Silent(Dialogue):
    """A connection on which everything is answered as expected."""

    def __init__(self) -> None:
        self.said = b""

    def ask(self, request: bytes, expected: bytes) -> bytes:
        self.said += request
        return expected


class GoneAtOnce(Pipe):
    """For a load that runs in the test's own process."""

    def __init__(self) -> None:
        pass

    def wait_for_go(self) -> None:
        pass


def frame(kind: int, data: bytes) -> bytes:
    return FRAME_HEADER.pack(4 + len(data), kind) + data


def feed(taker: Taker, data: bytes, size: int) -> tuple[int, bytes]:
    """Hand over ``data`` in pieces; return what was counted and answered in all."""
    total, output = 0, b""
    for start in range(0, len(data), size):
        count, answer = taker.receive(data[start : start + size])
        total += count
        output += answer
    return total, output


@pytest.mark.parametrize("size", [1, 7, 215, 100_000])
def test_redis_entries_are_acknowledged_when_all_have_come(size: int) -> None:
    ids = [b"%d-%d" % (1700000000000 + number, number) for number in range(12)]
    entries = b"".join(
        b"*2\r\n$%d\r\n%s\r\n*2\r\n$1\r\nb\r\n$200\r\n%s\r\n" % (len(each), each, BODY)
        for each in ids
    )
    taker = RedisSpeech().taker(Silent(), 0)
    more = taker.start()
    reply = b"*1\r\n*2\r\n$1\r\ns\r\n*12\r\n" + entries
    count, output = feed(taker, b":500\r\n" + reply, size)
    acknowledged = b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in ids)
    assert count == 12
    assert output == b"*15\r\n$4\r\nXACK\r\n$1\r\ns\r\n$1\r\ng\r\n" + acknowledged + more
    assert feed(taker, b":12\r\n*-1\r\n", size) == (0, b""), "nothing is left"


@pytest.mark.parametrize("size", [1, 7, 215, 100_000])
def test_nats_messages_are_acknowledged_once(size: int) -> None:
    subjects = [b"$JS.ACK.S.c.1.%d.%d.17.0" % (number, number) for number in range(1, 13)]
    data = b"".join(b"MSG i0 1 %s 200\r\n%s\r\n" % (subject, BODY) for subject in subjects)
    count, output = feed(NatsSpeech().taker(Silent(), 0), b"PING\r\n" + data, size)
    assert count == 12
    assert output == b"".join(b"PUB %s 0\r\n\r\n" % subject for subject in subjects)


def test_nats_asks_for_more_when_a_request_is_used_up() -> None:
    taker = NatsSpeech().taker(Silent(), 0)
    pull = taker.start()[: len(taker.start()) // 2]
    data = b"".join(b"MSG i0 1 $JS.ACK.%d 200\r\n%s\r\n" % (each, BODY) for each in range(2_500))
    assert feed(taker, data, 5_000)[1].count(pull) == 2


@pytest.mark.parametrize("size", [1, 7, 215, 100_000])
def test_beanstalkd_jobs_are_deleted_once(size: int) -> None:
    data = b"".join(b"DELETED\r\nRESERVED %d 200\r\n%s\r\n" % (each, BODY) for each in range(12))
    count, output = feed(BeanstalkdSpeech().taker(Silent(), 0), data, size)
    assert count == 12
    assert [int(line.split()[1]) for line in output.splitlines()[::2]] == list(range(12))
    assert output.count(b"reserve-with-timeout 0\r\n") == 12


@pytest.mark.parametrize("size", [1, 7, 215, 100_000])
def test_nsq_messages_are_finished_once(size: int) -> None:
    ids = [b"%016d" % number for number in range(12)]
    data = b"".join(frame(MESSAGE, bytes(8) + b"\x00\x01" + each + BODY) for each in ids)
    count, output = feed(NsqSpeech("t").taker(Silent(), 0), data, size)
    assert (count, output) == (12, b"".join(b"FIN %s\n" % each for each in ids))


def test_what_is_no_message_is_an_error() -> None:
    with pytest.raises(BrokerError, match="E_INVALID"):
        NsqSpeech("t").taker(Silent(), 0).receive(frame(1, b"E_INVALID " * 30))


ANSWERS = [
    (NsqSpeech("t"), OK_FRAME, 1),
    (RedisSpeech(), b"$17\r\n1700000000000-123\r\n", 10),
    (NatsSpeech(), b'MSG i0 1 26\r\n{"stream":"S","seq":12345}\r\n', 10),
    (BeanstalkdSpeech(), b"INSERTED 1234\r\n", 10),
]


@contextmanager
def answering(answer: bytes, pieces: int) -> Iterator[int]:
    """A listener that reads, and sends what it was given in pieces of odd sizes."""

    def serve() -> None:
        connection, _ = server.accept()
        # Who has counted all, or met a failure, closes without reading on.
        with connection, suppress(ConnectionError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.recv(1 << 20)
            for start in range(0, len(answer), pieces):
                connection.sendall(answer[start : start + pieces])
            while connection.recv(1 << 20):
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def publish_to(speech: Speech, port: int, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    monkeypatch.setattr(type(speech), "greet", lambda *_: None)
    load = PublishLoad(port, speech, 10, 1, window=4, messages=40, seconds=60.0)
    return publish(load, GoneAtOnce())


@pytest.mark.parametrize(("speech", "answer", "answers"), ANSWERS)
@pytest.mark.parametrize("pieces", [1, 11, 10_000])
def test_answers_are_counted_however_they_are_cut(
    speech: Speech, answer: bytes, answers: int, pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert speech.command(10, 0).answers == answers
    with answering(answer * answers * 4, pieces) as port:
        assert publish_to(speech, port, monkeypatch).messages == 40


@pytest.mark.parametrize(
    ("speech", "failure"),
    [
        (NsqSpeech("t"), frame(1, b"E_PUB_FAILED")),
        (RedisSpeech(), b"-OOM command not allowed\r\n"),
        (NatsSpeech(), b'MSG i0 1 40\r\n{"error":{"code":503}}\r\n'),
        (BeanstalkdSpeech(), b"OUT_OF_MEMORY\r\n"),
    ],
)
def test_a_refusal_is_an_error(
    speech: Speech, failure: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        answering(failure, 10_000) as port,
        pytest.raises(BrokerError, match=r"PUB_FAILED|OOM|503|OUT_OF_MEMORY"),
    ):
        publish_to(speech, port, monkeypatch)


def bench(directory: Path, **programs: str) -> Bench:
    return Bench(programs, str(directory), seconds=30.0, runs=1, scale=SCALE)


def test_ours_publishes_and_delivers_all(tmp_path: Path) -> None:
    run = bench(tmp_path).run(OURS, DELIVER, Durability.MEMORY)
    assert run.messages == FILL.messages * SCALE
    assert run.cpu_us > 0
    assert run.rss_peak_mb > 1
    assert list(tmp_path.iterdir()) == [], "the broker's folder is gone"


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.key)
def test_an_installed_peer_publishes_and_delivers_all(peer: Peer, tmp_path: Path) -> None:
    # Go's is found by nobody. Ours knows its options and stands for it.
    program = OWN_NSQD if peer.key == "go-nsqd" else peer.find()
    if program is None:
        pytest.skip(f"{peer.title} is not installed: {peer.install}")
    measure = bench(tmp_path, **{peer.key: program})
    assert measure.run(peer, DELIVER, Durability.OS).messages == FILL.messages * SCALE


def test_a_peer_that_does_not_start_is_left_out_with_its_reason(tmp_path: Path) -> None:
    redis = next(peer for peer in PEERS if peer.key == "redis")
    measure = bench(tmp_path, redis=sys.executable)  # knows no option of Redis
    [pairing] = measure.pairings([redis], ONE_BY_ONE, Durability.OS, lambda text: None)
    assert "did not start, exit status 2" in pairing.error
    assert "failed: it did not start" in tables([pairing], [redis])


def run(rate: float, load_share: float = 0.5, cpu_us: float = 2.0) -> Run:
    return Run(1_000, rate, cpu_us, 50.0, load_share)


def test_ratios_are_of_pairs_and_shown_with_their_spread() -> None:
    redis = next(peer for peer in PEERS if peer.key == "redis")
    pairing = Pairing("redis", "publish-1x1", "os")
    pairing.theirs, pairing.ours = [run(100), run(200), run(400)], [run(300), run(200), run(200)]
    assert pairing.ratios() == [0.5, 1.0, 3.0]
    row = "| publish-1x1 | 200 (2.0) | 200 (2.0)<br>1.00 x (0.50 to 3.00) |"
    assert row in tables([pairing], [redis])


def test_a_generator_without_time_is_doubtful_unless_the_broker_had_none_either() -> None:
    pairing = Pairing("redis", "publish-1x1", "os")
    pairing.theirs, pairing.ours = [run(90_000, 0.95, 5.0)], [run(90_000, 0.95, 10.8)]
    assert doubtful([pairing]) == ["redis publish-1x1 (os)"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--redis", "/nowhere"], "no such program"),
        (["--peers", "kafka"], "kafka: there are go-nsqd, redis, nats, beanstalkd"),
        (["--classes", "raid"], "there are memory, os, fsync"),
        (["--only", "x"], "publish-200x8"),
        (["--window", "0"], "at least 1"),
        (["--directory", "/nowhere"], "no such folder"),
    ],
)
def test_wrong_options_are_explained(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert said in capsys.readouterr().err
