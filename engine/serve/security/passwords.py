"""Passwords: lines of a file that hold scrypt hashes, and the check of a name and password against them.

A line is `NAME:scrypt:N:R:P:SALT:HASH`, with salt and hash in base64. The parameters follow OWASP's Password Storage
Cheat Sheet (scrypt with N = 2^15, r = 8, p = 3: 32 MiB and about a fifth of a second).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from engine.errors import RequestError

__all__ = ["Users", "hash_password", "read_users"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
LINE = re.compile(r"([^:]+):scrypt:(\d{1,8}):(\d{1,3}):(\d{1,3}):([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)", re.ASCII)
COST, BLOCK, PARALLEL = 2**15, 8, 3
SALT_BYTES, HASH_BYTES = 16, 32
SHORTEST = 8
"""Least number of characters of a password."""
MEMORY = 2**28
"""Most bytes that the hash of one password may take, so that a file cannot fill the memory."""
LARGEST_FILE = 2**20


@dataclass(frozen=True)
class _Hash:
    cost: int
    block: int
    parallel: int
    salt: bytes
    digest: bytes

    @property
    def memory(self) -> int:
        """Bytes that the check takes (RFC 7914, section 2)."""
        return 128 * self.block * (self.cost + self.parallel + 2)

    def of(self, password: str) -> bytes:
        """Return the hash of a password with these parameters."""
        return hashlib.scrypt(
            password.encode(),
            salt=self.salt,
            n=self.cost,
            r=self.block,
            p=self.parallel,
            maxmem=2 * self.memory,
            dklen=len(self.digest),
        )


def hash_password(name: str, password: str) -> str:
    """Return the line of a user for the file of --auth. Raises RequestError for an unusable name or password."""
    if not NAME.fullmatch(name):
        raise RequestError(
            "The user name",
            found=repr(name[:80]),
            expected="1 to 64 letters, digits, dots, @, _ or -, beginning with a letter or digit",
            fix="choose another name",
        )
    if len(password) < SHORTEST:
        raise RequestError(
            "The password",
            found=f"{len(password)} characters",
            expected=f"at least {SHORTEST} characters",
            fix="choose a longer password",
        )
    made = _Hash(COST, BLOCK, PARALLEL, secrets.token_bytes(SALT_BYTES), bytes(HASH_BYTES))
    salt, digest = (base64.b64encode(value).decode() for value in (made.salt, made.of(password)))
    return f"{name}:scrypt:{COST}:{BLOCK}:{PARALLEL}:{salt}:{digest}"


def read_users(path: Path) -> Users:
    """Return the users of a file. Empty lines and lines that begin with # are ignored. Raises RequestError."""
    fix = "make the file with `engine serve --hash-password NAME > FILE`"
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE).decode()
    except (OSError, UnicodeError) as error:
        found = error.strerror if isinstance(error, OSError) else "bytes that are no UTF-8"
        raise RequestError(
            f"The file of passwords {path}", found=str(found), expected="a readable text file", fix=fix
        ) from error
    users: dict[str, _Hash] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            name, parsed = _parse(line.strip(), f"Line {number} of the file of passwords {path}", fix)
            if name in users:
                raise RequestError(
                    f"Line {number} of the file of passwords {path}",
                    found=f"the user {name} for the second time",
                    expected="one line per user",
                    fix="remove one of the lines",
                )
            users[name] = parsed
    if not users:
        raise RequestError(f"The file of passwords {path}", found="no user", expected="one line per user", fix=fix)
    return Users(users)


def _parse(line: str, subject: str, fix: str) -> tuple[str, _Hash]:
    """Return the name and hash of a line. The message of an error shows nothing of the line."""
    match = LINE.fullmatch(line)
    try:
        if match is None or not NAME.fullmatch(match[1]):
            raise ValueError
        cost, block, parallel = (int(match[i]) for i in (2, 3, 4))
        salt, digest = (base64.b64decode(match[i], validate=True) for i in (5, 6))
        made = _Hash(cost, block, parallel, salt, digest)
        powers = cost > 1 and cost & (cost - 1) == 0
        if not powers or made.memory > MEMORY or not 1 <= parallel <= 16 or len(salt) < 8 or len(digest) < 16:
            raise ValueError
    except (ValueError, binascii.Error):
        raise RequestError(subject, found="another form", expected="NAME:scrypt:N:R:P:SALT:HASH", fix=fix) from None
    return match[1], made


class Users:
    """The users that may log in. The check takes as long for an unknown name as for a wrong password."""

    def __init__(self, users: dict[str, _Hash]) -> None:
        self._users = users
        # A hash of the same cost, of no password at all.
        any_hash = next(iter(users.values()))
        self._nobody = _Hash(
            any_hash.cost, any_hash.block, any_hash.parallel, secrets.token_bytes(16), secrets.token_bytes(32)
        )
        # A browser sends the password with every request. Right ones are remembered as a keyed hash.
        self._key = secrets.token_bytes(32)
        self._known: dict[str, bytes] = {}

    def remembers(self, name: str, password: str) -> bool:
        """Return whether this password was right before. This takes no time."""
        known = self._known.get(name, bytes(32))
        return hmac.compare_digest(known, self._seal(name, password))

    def check(self, name: str, password: str) -> bool:
        """Return whether the password is right, in constant time. This takes about a fifth of a second."""
        kept = self._users.get(name, self._nobody)
        right = hmac.compare_digest(kept.of(password), kept.digest) and name in self._users
        if right:
            self._known[name] = self._seal(name, password)
        return right

    def _seal(self, name: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{name}:{password}".encode(), "sha256")
