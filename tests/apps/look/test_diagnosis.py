"""What is wrong with a cluster, from facts alone. Each test breaks one thing of a well cluster."""

from dataclasses import replace

import pytest

from nsqx.apps.look.cluster_facts import ClusterFacts, LookupdFacts, NsqdFacts, Reach
from nsqx.apps.look.diagnosis import Finding, Severity, diagnose

LOOKUPDS = ("10.0.0.1:4161", "10.0.0.2:4161")
REGISTRARS = ["10.0.0.1:4160", "10.0.0.2:4160"]
REFUSED = "connection refused"


def lookupd(address: str) -> LookupdFacts:
    return LookupdFacts(Reach(address), "0.1.0", open_files=30, max_files=20_000)


def nsqd(number: int = 1) -> NsqdFacts:
    return NsqdFacts(
        http=Reach(f"10.0.1.{number}:4151"),
        tcp=Reach(f"10.0.1.{number}:4150"),
        hostname=f"node{number}",
        answering_hostname=f"node{number}",
        version="0.1.0",
        remote_host=f"10.0.1.{number}",
        listed_by=list(LOOKUPDS),
        told_tcp_port=4150,
        lookupds=list(REGISTRARS),
        tells_connections=True,
        disk_free_bytes=100 << 30,
        open_files=30,
        max_files=20_000,
    )


@pytest.fixture
def well() -> ClusterFacts:
    return ClusterFacts(
        [lookupd(address) for address in LOOKUPDS],
        [nsqd(1), nsqd(2)],
        [Reach(address) for address in REGISTRARS],
    )


def only(facts: ClusterFacts) -> Finding:
    (finding,) = diagnose(facts)
    assert finding.advice.endswith(".")
    return finding


def check(facts: ClusterFacts, severity: Severity, subject: str, problem: str) -> str:
    """The one finding there must be; returns its advice."""
    finding = only(facts)
    assert (finding.severity, finding.subject, finding.problem) == (severity, subject, problem)
    return finding.advice


def test_well_cluster_has_no_findings(well: ClusterFacts) -> None:
    assert diagnose(well) == []


def test_cluster_of_nsqs_own_daemons_has_no_findings(well: ClusterFacts) -> None:
    """They do not tell their disks, open files and connections."""
    for directory in well.lookupds:
        directory.open_files = directory.max_files = None
    for node in well.nsqds:
        node.open_files = node.max_files = node.disk_free_bytes = None
        node.tells_connections = False
    assert diagnose(well) == []


def test_nobody_at_all() -> None:
    check(ClusterFacts(), Severity.ERROR, "cluster", "nobody was found")


def test_no_nsqd_registered(well: ClusterFacts) -> None:
    well.nsqds.clear()
    check(well, Severity.ERROR, "cluster", "no nsqd is registered")


def test_lookupd_that_cannot_be_reached(well: ClusterFacts) -> None:
    well.lookupds[1].http.problem = REFUSED
    problem = "cannot be reached by HTTP: connection refused"
    check(well, Severity.ERROR, "nsqlookupd 10.0.0.2:4161", problem)


def test_nsqd_that_cannot_be_reached(well: ClusterFacts) -> None:
    node = well.nsqds[0]
    node.http.problem, node.tcp.problem = REFUSED, "no answer in 5 s"
    problem = (
        "cannot be reached by HTTP at 10.0.1.1:4151: connection refused,"
        " by TCP at 10.0.1.1:4150: no answer in 5 s"
    )
    advice = check(well, Severity.ERROR, "nsqd 10.0.1.1:4151", problem)
    assert "--broadcast-address must be one that clients reach" in advice


def test_nsqd_that_answers_where_it_is_not_told_to_be(well: ClusterFacts) -> None:
    well.nsqds[0].tcp.problem, well.nsqds[0].answers_at = REFUSED, "192.168.0.7"
    advice = only(well).advice
    assert "it does answer at 192.168.0.7: start it with --broadcast-address=192.168.0.7" in advice


def test_nsqd_of_the_directorys_own_host_is_not_advised_to_tell_loopback(
    well: ClusterFacts,
) -> None:
    well.nsqds[0].tcp.problem, well.nsqds[0].answers_at = REFUSED, "127.0.0.1"
    assert "127.0.0.1" not in only(well).advice


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_nsqd_that_tells_a_loopback_address(well: ClusterFacts, host: str) -> None:
    well.nsqds[0].tcp, well.nsqds[0].http = Reach(f"{host}:4150"), Reach(f"{host}:4151")
    problem = "tells an address that only its own host can reach"
    check(well, Severity.ERROR, f"nsqd {host}:4151", problem)


def test_loopback_is_fine_for_a_cluster_on_one_host(well: ClusterFacts) -> None:
    for node in well.nsqds:
        node.tcp = Reach(f"127.0.0.1:{node.told_tcp_port}")
        node.listed_by = ["127.0.0.1:4161", "[::1]:4171"]
    assert diagnose(well) == []


def test_address_that_leads_to_another_nsqd(well: ClusterFacts) -> None:
    well.nsqds[0].answering_hostname = "node7"
    problem = "was registered by host node1, and host node7 answers"
    check(well, Severity.ERROR, "nsqd 10.0.1.1:4151", problem)


def test_nsqd_listed_twice(well: ClusterFacts) -> None:
    well.nsqds[0].listed_by.append(LOOKUPDS[0])
    problem = "is listed more than once by 10.0.0.1:4161"
    check(well, Severity.ERROR, "nsqd 10.0.1.1:4151", problem)


def test_sick_nsqd(well: ClusterFacts) -> None:
    well.nsqds[0].illness = "NOK - no space left on device"
    problem = "says that it is not well: NOK - no space left on device"
    check(well, Severity.ERROR, "nsqd 10.0.1.1:4151", problem)


@pytest.mark.parametrize(
    ("free", "severity", "shown"),
    [(2 << 30, None, ""), (1 << 30, Severity.WARNING, "1,074"), (1 << 20, Severity.ERROR, "1")],
)
def test_disk_that_fills(
    well: ClusterFacts, free: int, severity: Severity | None, shown: str
) -> None:
    well.nsqds[0].disk_free_bytes = free
    if severity is None:
        assert diagnose(well) == []
    else:
        problem = f"has {shown} MB left on the disk of its data path"
        check(well, severity, "nsqd 10.0.1.1:4151", problem)


def test_open_files_that_run_out(well: ClusterFacts) -> None:
    well.lookupds[0].open_files = 18_000
    problem = "has 18,000 of at most 20,000 files open"
    check(well, Severity.ERROR, "nsqlookupd 10.0.0.1:4161", problem)


def test_low_limit_of_open_files(well: ClusterFacts) -> None:
    well.nsqds[0].max_files = 1024
    problem = "may open 1,024 files only; each client is one"
    check(well, Severity.WARNING, "nsqd 10.0.1.1:4151", problem)


@pytest.mark.parametrize(
    ("skew_s", "text"), [(2.0, ""), (61.2, "61 s ahead of"), (-61.2, "61 s behind")]
)
def test_clocks(well: ClusterFacts, skew_s: float, text: str) -> None:
    well.nsqds[0].clock_skew_s = skew_s
    if text:
        problem = f"has a clock that is {text} ours"
        check(well, Severity.WARNING, "nsqd 10.0.1.1:4151", problem)
    else:
        assert diagnose(well) == []


def test_nsqd_that_is_not_connected_to_its_lookupd(well: ClusterFacts) -> None:
    well.nsqds[0].unconnected = [REGISTRARS[1]]
    problem = "is not connected to nsqlookupd 10.0.0.2:4160"
    check(well, Severity.ERROR, "nsqd 10.0.1.1:4151", problem)


def test_registrar_out_of_our_reach_matters_only_if_nobody_knows_better(
    well: ClusterFacts,
) -> None:
    well.registrars[1].problem = REFUSED
    assert diagnose(well) == []
    for node in well.nsqds:
        node.tells_connections = False
    problem = f"nsqds register there, and from here it cannot be reached: {REFUSED}"
    advice = check(well, Severity.WARNING, "nsqlookupd 10.0.0.2:4160", problem)
    assert "10.0.1.1:4151, 10.0.1.2:4151" in advice


def test_nsqd_without_lookupds(well: ClusterFacts) -> None:
    well.nsqds[0] = replace(nsqd(1), lookupds=[], listed_by=[])
    problem = "knows no nsqlookupd: consumers that ask for its topics do not find it"
    check(well, Severity.WARNING, "nsqd 10.0.1.1:4151", problem)


def test_nsqd_that_nobody_lists(well: ClusterFacts) -> None:
    well.nsqds[0].listed_by = []
    problem = "is listed by none of the nsqlookupds"
    check(well, Severity.ERROR, "nsqd 10.0.1.1:4151", problem)


def test_damaged_log(well: ClusterFacts) -> None:
    well.nsqds[0].damages, well.nsqds[0].lost_messages = 2, 7
    problem = "has found its log damaged in 2 places, and lost 7 messages"
    check(well, Severity.WARNING, "nsqd 10.0.1.1:4151", problem)


def test_lookupds_that_disagree(well: ClusterFacts) -> None:
    node = "10.0.1.1:4151"
    missing = [(node, f"t{number}", "") for number in range(4)] + [(node, "t0", "c")]
    well.lookupds[1].missing = frozenset(missing)
    problem = "does not list t0, t0/c, t1 and 2 more of nsqd 10.0.1.1:4151, as others do"
    check(well, Severity.ERROR, "nsqlookupd 10.0.0.2:4161", problem)


def test_different_versions(well: ClusterFacts) -> None:
    well.nsqds[0].version = "0.2.0"
    problem = "nsqd of different versions: 0.1.0 (10.0.1.2:4151), 0.2.0 (10.0.1.1:4151)"
    check(well, Severity.WARNING, "cluster", problem)


def test_worst_comes_first(well: ClusterFacts) -> None:
    well.lookupds[0].clock_skew_s = 60
    well.nsqds[1].illness = "NOK"
    severities = [finding.severity for finding in diagnose(well)]
    assert severities == [Severity.ERROR, Severity.WARNING]


def test_nodes_of_one_host_are_called_by_their_http_addresses(well: ClusterFacts) -> None:
    """As on every page of the dashboard, in alarms and in the other commands."""
    for node, port in zip(well.nsqds, (4151, 4153), strict=True):
        node.http, node.tcp = Reach(f"10.0.1.1:{port}"), Reach(f"10.0.1.1:{port - 1}")
        node.illness = "NOK"
    subjects = [each.subject for each in diagnose(well)]
    assert subjects == ["nsqd 10.0.1.1:4151", "nsqd 10.0.1.1:4153"]


def test_a_node_without_http_is_called_by_what_it_has() -> None:
    assert replace(nsqd(), http=Reach("10.0.1.1:0")).name == "10.0.1.1:4150"


def test_a_node_that_drains(well: ClusterFacts) -> None:
    well.nsqds[0].is_draining = True
    advice = check(
        well,
        Severity.WARNING,
        "nsqd 10.0.1.1:4151",
        "drains: it takes no messages, and lookups for publishing do not show it",
    )
    assert "nsqx drain 10.0.1.1:4151 --undo" in advice


def test_of_a_certificate_that_is_not_accepted_the_address_is_not_blamed(
    well: ClusterFacts,
) -> None:
    well.nsqds[0].http.problem = "TLS failed"
    finding = only(well)
    assert finding.problem == "cannot be reached by HTTP at 10.0.1.1:4151: TLS failed"
    assert "--tls-ca-file" in finding.advice
    assert "--broadcast-address" not in finding.advice
