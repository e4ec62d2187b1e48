"""
Tokens and passwords of the dashboard, from files.

A line of ``--auth-token-file`` is ``name:role:sha256-of-the-token``, one of ``--auth-basic-file``
is ``name:role:scrypt$salt$key``; ``#`` begins a comment. Both lines are made by

    python -m nsqx.admin.guard.credentials token ci operator     prints a new token and its line
    python -m nsqx.admin.guard.credentials password alice admin  asks, prints its line

A token is long and random, so a fast hash is enough. A password is not, so checking one is made
slow, outside of the event loop, and a pair that was right is remembered (hashed with a key of this
process).
"""

import asyncio
import base64
import binascii
import getpass
import hashlib
import hmac
import secrets
import sys
from dataclasses import dataclass, field
from pathlib import Path

from nsqx.admin.guard.roles import ROLES

__all__ = ["Account", "Credentials"]

SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 14, 8, 1  # 16 MiB and some 50 ms
SALT_BYTES, TOKEN_BYTES = 16, 32
CHECKS_AT_ONCE = 2  # more would let strangers keep the machine busy


@dataclass(frozen=True, slots=True)
class Account:
    """One line of a file."""

    name: str
    role: str
    secret: str


@dataclass(slots=True)
class Credentials:
    """All that may be proved. ``exist`` is whether a proof is demanded."""

    tokens: dict[str, Account] = field(default_factory=dict)  # by SHA-256
    passwords: dict[str, Account] = field(default_factory=dict)  # by name
    _right: set[bytes] = field(default_factory=set)
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _checking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CHECKS_AT_ONCE))

    @classmethod
    def read(cls, token_file: str, basic_file: str) -> "Credentials":
        """
        Read the files; an empty path is none.

        Raises:
            OSError: a file cannot be read.
            ValueError: a line is wrong.
        """
        credentials = cls()
        for account in _accounts(token_file):
            credentials.tokens[account.secret.lower()] = account
        for account in _accounts(basic_file):
            credentials.passwords[account.name] = account
        return credentials

    @property
    def exist(self) -> bool:
        return bool(self.tokens or self.passwords)

    @property
    def challenge(self) -> str:
        """The value of WWW-Authenticate."""
        return 'Basic realm="nsqadmin", charset="UTF-8"' if self.passwords else "Bearer"

    async def check(self, authorization: str) -> Account | None:
        """Return whose proof a header is, or None."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return self.tokens.get(hashlib.sha256(value.strip().encode()).hexdigest())
        if scheme.lower() == "basic":
            name, password = decode_basic(value)
            return await self._check_password(name, password)
        return None

    async def _check_password(self, name: str, password: str) -> Account | None:
        account = self.passwords.get(name)
        if account is None:
            return None
        memory = hmac.digest(self._key, f"{name}:{password}".encode(), "sha256")
        if memory in self._right:
            return account
        async with self._checking:
            right = await asyncio.to_thread(_is_right, account.secret, password)
        if not right:
            return None
        self._right.add(memory)
        return account


def decode_basic(value: str) -> tuple[str, str]:
    """Return name and password of a Basic authorization; empty for what is none."""
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    name, _, password = text.partition(":")
    return name, password


def _accounts(path: str) -> list[Account]:
    if not path:
        return []
    accounts = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        name, role, secret = ([*text.split(":", 2), "", ""])[:3]
        if not name or role not in ROLES or not secret:
            raise ValueError(f"{path} line {number}: expected name:role:secret")
        accounts.append(Account(name, role, secret))
    return accounts


def _is_right(secret: str, password: str) -> bool:
    try:
        method, salt, key = secret.split("$")
        expected = bytes.fromhex(key)
        actual = _scrypt(password, bytes.fromhex(salt))
    except ValueError:
        return False
    return method == "scrypt" and hmac.compare_digest(expected, actual)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P)


def token_line(name: str, role: str, token: str) -> str:
    """Return the line of the file for a token."""
    return f"{name}:{role}:{hashlib.sha256(token.encode()).hexdigest()}"


def password_line(name: str, role: str, password: str) -> str:
    """Return the line of the file for a password."""
    salt = secrets.token_bytes(SALT_BYTES)
    return f"{name}:{role}:scrypt${salt.hex()}${_scrypt(password, salt).hex()}"


def main(arguments: list[str]) -> int:
    """Make a line; see the top of this module."""
    if len(arguments) != 3 or arguments[0] not in ("token", "password"):
        sys.stderr.write("usage: python -m nsqx.admin.guard.credentials token|password NAME ROLE\n")
        return 2
    kind, name, role = arguments
    if role not in ROLES:
        sys.stderr.write(f"the role is one of {', '.join(ROLES)}\n")
        return 2
    if kind == "token":
        token = secrets.token_urlsafe(TOKEN_BYTES)
        sys.stdout.write(f"token: {token}\n{token_line(name, role, token)}\n")
    else:
        sys.stdout.write(f"{password_line(name, role, getpass.getpass())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
