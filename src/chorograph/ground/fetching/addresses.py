"""Which hosts may be fetched from: http and https on public addresses, checked where the connection is made."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network


class ForbiddenError(OSError):
    """An address that may not be fetched from; `reason` is counted."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def is_public(address: str, allowed: Sequence[IPv4Network | IPv6Network] = ()) -> bool:
    """Whether an IP address is one of the public Internet, or lies in an allowed network.

    An IPv6 address that wraps an IPv4 one (mapped, 6to4, Teredo, NAT64) is judged by what it wraps too.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if any(ip.version == network.version and ip in network for network in allowed):
        return True
    inner: list[ipaddress.IPv4Address] = []
    if isinstance(ip, ipaddress.IPv6Address):
        inner += [ip.ipv4_mapped] if ip.ipv4_mapped else []
        inner += [ip.sixtofour] if ip.sixtofour else []
        inner += list(ip.teredo) if ip.teredo else []
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return not ip.is_multicast and all(one.is_global for one in inner) and (ip.is_global or bool(inner))


def check_url(url: str, allowed: Sequence[IPv4Network | IPv6Network] = ()) -> str:
    """Return the host of a URL that may be asked for; `ForbiddenError` with the reason otherwise.

    A host that is a number is judged here in every notation that the system's resolver would take (127.1, 0x7f000001);
    a name is judged by what it resolves to, by `PublicResolver`.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ForbiddenError("bad URL") from None
    if parts.scheme not in ("http", "https"):
        raise ForbiddenError("scheme not allowed" if parts.scheme else "bad URL")
    if not host or any(character.isspace() or character == "\0" for character in host) or not _encodes(url):
        raise ForbiddenError("bad URL")
    literal = _literal(host)
    if literal is not None and not is_public(literal, allowed):
        raise ForbiddenError("private address")
    return host


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))  # 127.1, 0177.0.0.1, 2130706433
    except (OSError, ValueError):  # a name; a name that is no ASCII
        return None


def _encodes(url: str) -> bool:
    """Whether a URL can be written at all: bytes that were no text stand in it as lone surrogates."""
    try:
        url.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class PublicResolver(AbstractResolver):
    """Resolves names, and refuses those with an address that is not public: the connection goes where was checked."""

    allowed: tuple[IPv4Network | IPv6Network, ...] = ()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host; `ForbiddenError` where one of them is private."""
        found = await ThreadedResolver().resolve(host, port, family)
        if not all(is_public(entry["host"], self.allowed) for entry in found):
            raise ForbiddenError("private address")
        return found

    async def close(self) -> None:
        """Nothing is held."""
