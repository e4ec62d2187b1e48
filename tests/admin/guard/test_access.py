"""Who may do what: roles, headers, tokens, passwords, and requests from other sites."""

import base64
from pathlib import Path
from typing import cast

import pytest

from nsqx.admin.guard.access import Access, Role, UnauthorizedError, parse_networks
from nsqx.admin.guard.credentials import Credentials, main, password_line, token_line
from nsqx.admin.guard.same_origin import comes_from_elsewhere
from nsqx.runtime.http.server import Request

LOOPBACK = ["127.0.0.0/8", "::1/128"]


class FakeRequest:
    """What the rules look at."""

    def __init__(self, ip: str = "127.0.0.1", **headers: str) -> None:
        self.ip = ip
        self._headers = {name.replace("_", "-").lower(): text for name, text in headers.items()}

    def header(self, name: str) -> str:
        return self._headers.get(name.lower(), "")


def asked(ip: str = "127.0.0.1", **headers: str) -> Request:
    return cast(Request, FakeRequest(ip, **headers))


def access(
    *,
    admins: tuple[str, ...] = (),
    operators: tuple[str, ...] = (),
    credentials: Credentials | None = None,
    read_only: bool = False,
) -> Access:
    return Access(
        header="X-Forwarded-User",
        trusted=parse_networks(LOOPBACK),
        admins=frozenset(admins),
        operators=frozenset(operators),
        credentials=credentials or Credentials(),
        read_only=read_only,
        message_role=Role.OPERATOR,
    )


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


async def test_without_any_rule_everybody_may_do_everything() -> None:
    visitor = await access().visitor(asked("10.1.2.3"))
    assert (visitor.role, visitor.rights[-1]) == (Role.ADMIN, "administer")


@pytest.mark.parametrize(
    ("user", "role"),
    [
        ("alice", Role.ADMIN),
        ("olaf", Role.OPERATOR),
        ("eve", Role.VIEWER),
        ("", Role.VIEWER),
    ],
)
async def test_roles_of_the_acl_header(user: str, role: Role) -> None:
    rules = access(admins=("alice",), operators=("olaf",))
    visitor = await rules.visitor(asked(X_Forwarded_User=user))
    assert (visitor.user, visitor.role) == (user, role)
    assert visitor.reads_messages == (role >= Role.OPERATOR)


@pytest.mark.parametrize("ip", ["10.1.2.3", "::ffff:10.1.2.3", "fe80::1%eth0"])
async def test_a_forged_header_from_elsewhere_is_not_believed(ip: str) -> None:
    visitor = await access(admins=("alice",)).visitor(asked(ip, X_Forwarded_User="alice"))
    assert (visitor.user, visitor.role) == ("", Role.VIEWER)


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1", "::ffff:127.0.0.1", ""])
async def test_trusted_addresses_are_believed(ip: str) -> None:
    visitor = await access(admins=("alice",)).visitor(asked(ip, X_Forwarded_User="alice"))
    assert visitor.role is Role.ADMIN


async def test_read_only_takes_every_change_from_admins_too() -> None:
    visitor = await access(read_only=True).visitor(asked())
    assert visitor.rights == ["read", "messages"]
    assert not visitor.may(Role.OPERATOR)


def written(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "file"
    path.write_text("# who may come in\n\n" + "\n".join(lines) + "\n")
    return str(path)


async def test_a_bearer_token_has_its_role(tmp_path: Path) -> None:
    tokens = written(tmp_path, token_line("ci", "operator", "s3cret") + "  # the build")
    rules = access(credentials=Credentials.read(tokens, ""))
    visitor = await rules.visitor(asked("10.1.2.3", Authorization="Bearer s3cret"))
    assert (visitor.user, visitor.role) == ("ci", Role.OPERATOR)
    for wrong in ("Bearer other", "Bearer ", "", basic("ci", "s3cret")):
        with pytest.raises(UnauthorizedError):
            await rules.visitor(asked(Authorization=wrong))


async def test_a_password_has_its_role(tmp_path: Path) -> None:
    users = written(tmp_path, password_line("alice", "admin", "pass:word"))
    rules = access(credentials=Credentials.read("", users))
    for _ in range(2):  # the second time it is remembered
        visitor = await rules.visitor(asked(Authorization=basic("alice", "pass:word")))
        assert (visitor.user, visitor.role) == ("alice", Role.ADMIN)
    for wrong in (basic("alice", "password"), basic("bob", "pass:word"), "Basic !", "Digest x"):
        with pytest.raises(UnauthorizedError):
            await rules.visitor(asked(Authorization=wrong))


async def test_a_trusted_header_is_proof_enough_beside_files(tmp_path: Path) -> None:
    tokens = written(tmp_path, token_line("ci", "viewer", "s3cret"))
    rules = access(admins=("alice",), credentials=Credentials.read(tokens, ""))
    visitor = await rules.visitor(asked(X_Forwarded_User="alice"))
    assert visitor.role is Role.ADMIN
    with pytest.raises(UnauthorizedError):
        await rules.visitor(asked("10.1.2.3", X_Forwarded_User="alice"))
    with pytest.raises(UnauthorizedError):
        await rules.visitor(asked(X_Forwarded_User="eve"))


@pytest.mark.parametrize("line", ["alice", "alice:admin", "alice:king:secret", ":admin:secret"])
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(ValueError, match="line 3: expected name:role:secret"):
        Credentials.read(written(tmp_path, line), "")


async def test_a_line_with_a_broken_hash_lets_nobody_in(tmp_path: Path) -> None:
    users = written(tmp_path, "alice:admin:scrypt$zz$zz", "bob:admin:plain")
    credentials = Credentials.read("", users)
    for name in ("alice", "bob"):
        assert await credentials.check(basic(name, "plain")) is None


def test_the_tool_makes_lines_that_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "ci", "operator"]) == 0
    token, line = capsys.readouterr().out.splitlines()
    credentials = Credentials.read(written(tmp_path, line), "")
    (account,) = credentials.tokens.values()
    assert (account.name, account.role) == ("ci", "operator")
    assert token_line("ci", "operator", token.removeprefix("token: ")) == line
    assert main(["token", "ci", "king"]) == 2
    assert main([]) == 2


@pytest.mark.parametrize(
    ("headers", "is_elsewhere"),
    [
        ({}, False),  # a program
        ({"Origin": "http://nsq.example:4171", "Sec_Fetch_Site": "same-origin"}, False),
        ({"Origin": "https://NSQ.example:4171"}, False),
        ({"Sec_Fetch_Site": "none"}, False),
        ({"Origin": "https://proxy.example"}, False),
        ({"Origin": "http://evil.example"}, True),
        ({"Origin": "http://nsq.example:4172"}, True),
        ({"Origin": "null"}, True),
        ({"Sec_Fetch_Site": "cross-site"}, True),
        ({"Sec_Fetch_Site": "same-site"}, True),
    ],
)
def test_who_is_behind_a_request(headers: dict[str, str], is_elsewhere: bool) -> None:
    request = asked(Host="nsq.example:4171", **headers)
    assert comes_from_elsewhere(request, ["https://proxy.example"]) == is_elsewhere
