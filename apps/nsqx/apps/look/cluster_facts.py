"""What an examination has found out about a cluster. Plain facts, which `diagnosis` judges."""

from dataclasses import dataclass, field

from nsqx.cluster.problems import Problem

__all__ = ["HANGS", "ClusterFacts", "LookupdFacts", "NsqdFacts", "Reach", "Registration"]

# Of an attempt that reached a program, which then said nothing.
HANGS = "it takes connections and says nothing"

# Which nsqd (as it is listed), the topic, and the channel or "" for the topic itself.
Registration = tuple[str, str, str]


@dataclass(slots=True)
class Reach:
    """An attempt to reach one address."""

    address: str
    problem: str = ""  # empty: it answered as it should
    took_s: float = 0.0

    @property
    def is_fine(self) -> bool:
        return not self.problem


@dataclass(slots=True)
class LookupdFacts:
    """One nsqlookupd, asked at its HTTP address."""

    http: Reach
    version: str = ""
    clock_skew_s: float = 0.0  # its clock minus ours, as little as it can be
    # What others list and it does not, both times that it was asked.
    missing: frozenset[Registration] = frozenset()
    open_files: int | None = None  # None: not known, as with NSQ's own
    max_files: int | None = None

    @property
    def name(self) -> str:
        return self.http.address


@dataclass(slots=True)
class NsqdFacts:
    """One nsqd, at the addresses that nsqlookupds tell us."""

    http: Reach
    tcp: Reach
    hostname: str  # as it told nsqlookupd
    version: str
    remote_host: str = ""  # where its connection to nsqlookupd comes from
    listed_by: list[str] = field(default_factory=list)  # HTTP addresses, one for each listing
    answers_at: str = ""  # if not where it is told to be: an address where it does answer
    answering_hostname: str = ""  # of who answers at its HTTP address
    told_tcp_port: int = 0
    clock_skew_s: float = 0.0
    illness: str = ""  # what /ping says, if not OK
    lookupds: list[str] | None = None  # TCP addresses it is configured with; None: not known
    tells_connections: bool = False  # which of these it is connected to
    unconnected: list[str] = field(default_factory=list)
    disk_free_bytes: int | None = None
    open_files: int | None = None
    max_files: int | None = None
    damages: int = 0
    is_draining: bool = False
    lost_messages: int = 0

    @property
    def name(self) -> str:
        """What a node is called everywhere: its HTTP address, if it has one."""
        return self.tcp.address if self.http.address.endswith(":0") else self.http.address


@dataclass(slots=True)
class ClusterFacts:
    """Everything. ``registrars`` are the TCP addresses at which nsqds register."""

    lookupds: list[LookupdFacts] = field(default_factory=list)
    nsqds: list[NsqdFacts] = field(default_factory=list)
    registrars: list[Reach] = field(default_factory=list)
    backlogs: list[Problem] = field(default_factory=list)  # of topics and channels
