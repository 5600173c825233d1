"""Fetching images by URL: every URL ends as bytes or as a counted reason, within a deadline, politely.

Politeness: a few connections and a pause a host, robots.txt and `noai` headers respected. Safety: http and https on
public addresses only, redirects followed by hand and judged like any URL, limits on bytes, pixels and time.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import ssl
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urljoin, urlsplit

import aiohttp
from PIL import Image, UnidentifiedImageError

from chorograph.curation.packs import PackWriter, Record, read_records
from chorograph.curation.rows import Context, Drop, Row
from chorograph.curation.steps.addresses import ForbiddenError, PublicResolver, check_url
from chorograph.curation.steps.robots import ALL, MAX_BYTES, NONE, Robots
from chorograph.ground.errors import InputError

AGENT = "chorograph"
#: What an image begins with; text and pages do not.
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
#: Headers that say: not for machine learning (X-Robots-Tag).
NOAI = ("noai", "noimageai")
#: What robots.txt files said and when, a process: read once a host and day.
_ROBOTS: dict[str, tuple[float, Robots]] = {}
_ROBOTS_S = 86_400


@dataclass(frozen=True)
class Fetched:
    """How a URL ended: its bytes, or the class of its failure."""

    data: bytes = b""
    reason: str | None = None


class _FailedError(Exception):
    """A try that failed; `again` says whether another may do better."""

    def __init__(self, reason: str, again: bool = False, wait_s: float = 0.0) -> None:
        self.reason, self.again, self.wait_s = reason, again, wait_s
        super().__init__(reason)


@dataclass(frozen=True)
class Fetch:
    """Fetch each row's URL; what is fetched, and what failed for good, is never asked for again after a restart.

    `again` lists failures of an earlier run that are tried again (a recipe changed so keeps what was fetched).
    `sample_s` bounds all tries of a URL together. Time-outs, resets, 429 and 5xx are tried again; everything else is
    final. A host that has not answered `give_up_host_after` requests in a row (at least twice as many as it is asked at
    once) is not asked again. `allow` lists networks (CIDR) that may be fetched from although they are private.
    """

    name: ClassVar[str] = "fetch"

    connections: int = 64
    per_host: int = 4
    host_pause_s: float = 0.05
    connect_s: float = 10.0
    idle_s: float = 10.0
    try_s: float = 30.0
    sample_s: float = 90.0
    tries: int = 3
    wait_s: float = 1.0
    give_up_host_after: int = 20
    max_redirects: int = 5
    max_bytes: int = 20_000_000
    max_pixels: int = 64_000_000
    robots: bool = True
    refuse_headers: tuple[str, ...] = NOAI
    allow: tuple[str, ...] = ()
    again: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if min(self.connections, self.per_host, self.tries, self.max_bytes) < 1 or self.try_s <= 0:
            raise InputError("fetch: connections, per_host, tries, max_bytes and try_s are positive")
        try:
            _ = self.networks
        except ValueError as error:
            raise InputError(f"fetch: allow lists networks like 10.0.0.0/8: {error}") from None

    @property
    def networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The private networks that may be fetched from."""
        return tuple(ipaddress.ip_network(text) for text in self.allow)

    def apply(self, rows: Sequence[Row], context: Context) -> list[Drop | None]:
        """Fetch what the packs do not hold yet, and point each row to its bytes."""
        folder = Path(context.packs)
        keys = {row["key"] for row in rows}
        held: dict[int, Record] = {}
        for record in read_records(folder):
            reason = record.about.get("reason")
            # A success stands, whichever try it was; a failure only where there is nothing better.
            if record.key in keys and (reason is None or (record.key not in held and reason not in self.again)):
                held[record.key] = record
        wanted = [row for row in rows if row["key"] not in held]
        with PackWriter(folder) as writer:

            def take(number: int, fetched: Fetched) -> None:
                about = {"reason": fetched.reason} if fetched.reason else {}
                key = wanted[number]["key"]
                held[key] = writer.add(key, about, fetched.data)

            fetch_all([row["url"] for row in wanted], self, take)
        return [_point(row, held[row["key"]]) for row in rows]

    def describe(self) -> str:
        """Say what it does."""
        polite = "robots.txt respected" if self.robots else "robots.txt NOT read"
        return (
            f"fetch by URL: {self.connections} connections, {self.per_host} a host, {self.tries} tries, "
            f"{self.sample_s:g} s and {self.max_bytes / 1e6:g} MB at most, {polite}"
        )


def fetch_all(urls: Sequence[str | None], rules: Fetch, take: Callable[[int, Fetched], None]) -> None:
    """Fetch every URL and hand each to `take` (its number, how it ended) as soon as it has ended."""
    if urls:
        asyncio.run(_Fetcher(rules).run(urls, take))


def _in_turns(urls: Sequence[str | None]) -> list[int]:
    """Return the numbers of URLs, each host's first one first: no host holds up the others."""
    seen: Counter[str] = Counter()
    turns = []
    for number, url in enumerate(urls):
        host = (url or "").partition("://")[2].partition("/")[0]
        turns.append((seen[host], number))
        seen[host] += 1
    return [number for _, number in sorted(turns)]


def _point(row: Row, record: Record) -> Drop | None:
    if reason := record.about.get("reason"):
        return Drop(reason)
    row.update(pack=record.pack, offset=record.offset, length=record.length)
    return None


@dataclass
class _Host:
    """What is known of a host while a batch runs."""

    slots: asyncio.Semaphore
    robots: asyncio.Lock = field(default_factory=asyncio.Lock)
    silent: str | None = None  # why its robots.txt could not be had
    next_at: float = 0.0
    failures: int = 0


class _Fetcher:
    def __init__(self, rules: Fetch) -> None:
        self.rules = rules
        self.hosts: dict[str, _Host] = {}

    async def run(self, urls: Sequence[str | None], take: Callable[[int, Fetched], None]) -> None:
        rules = self.rules
        self.slots = asyncio.Semaphore(rules.connections)
        connector = aiohttp.TCPConnector(
            resolver=PublicResolver(rules.networks), limit=0, use_dns_cache=True, ttl_dns_cache=60, force_close=False
        )
        timeout = aiohttp.ClientTimeout(total=rules.try_s, sock_connect=rules.connect_s, sock_read=rules.idle_s)
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            headers={"User-Agent": AGENT, "Accept": "image/*", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        ) as self.session:
            # A bounded crowd of workers, so that a million URLs are not a million tasks.
            queue = iter(_in_turns(urls))

            async def work() -> None:
                for number in queue:
                    take(number, await self.one(urls[number]))

            workers = min(len(urls), rules.connections * 4)
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(work())

    async def one(self, url: str | None) -> Fetched:
        """Fetch one URL with its tries; never raises for what the other side does."""
        if url is None:
            return Fetched(reason="no URL")
        begun: list[float] = []

        async def attempts() -> Fetched:
            tries = 0
            while True:
                tries += 1
                try:
                    return Fetched(await self.attempt(url, begun))
                except _FailedError as failed:
                    if not failed.again or tries >= self.rules.tries:
                        return Fetched(reason=failed.reason)
                    await asyncio.sleep(max(failed.wait_s, self.rules.wait_s * 2 ** (tries - 1)))

        # The clock of a sample starts with its first request: waiting politely for a busy host costs it nothing.
        task = asyncio.ensure_future(attempts())
        while not task.done():
            left = self.rules.sample_s - (time.monotonic() - begun[0]) if begun else 1.0
            if left <= 0:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                return Fetched(reason="time-out")
            await asyncio.wait([task], timeout=left)
        return task.result()

    async def attempt(self, url: str, begun: list[float]) -> bytes:
        """Follow a URL through its redirects to bytes; `_FailedError` with the class of failure."""
        here = url.strip()
        for _ in range(self.rules.max_redirects + 1):
            try:
                check_url(here, self.rules.networks)
            except ForbiddenError as error:
                raise _FailedError(error.reason) from None
            parts = urlsplit(here)
            host = self.hosts.setdefault(
                f"{parts.scheme}://{parts.netloc}", _Host(asyncio.Semaphore(self.rules.per_host))
            )
            if self.rules.robots and not await self.allowed(host, here):
                raise _FailedError("robots.txt")
            async with self.turn(host):
                if host.failures >= max(self.rules.give_up_host_after, 2 * self.rules.per_host):
                    raise _FailedError("host given up")
                if not begun:
                    begun.append(time.monotonic())
                async with _classified(host):
                    answer = await self.ask(here, host)
            if isinstance(answer, bytes):
                return answer
            here = urljoin(here, answer)
        raise _FailedError("too many redirects")

    async def ask(self, url: str, host: _Host) -> bytes | str:
        """Return a URL's bytes, or where it redirects to."""
        async with self.session.get(url, allow_redirects=False) as response:
            host.failures = 0  # it answers
            if response.status in (301, 302, 303, 307, 308):
                if "Location" not in response.headers:
                    raise _FailedError("redirect to nowhere")
                return response.headers["Location"]
            if response.status != 200:
                again = response.status in (408, 425, 429) or response.status >= 500
                raise _FailedError(f"HTTP {response.status}", again, _retry_after(response))
            if refused := _refusal(response.headers.getall("X-Robots-Tag", []), self.rules.refuse_headers):
                raise _FailedError(f"header {refused}")
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if (
                kind
                and not kind.startswith("image/")
                and kind not in ("application/octet-stream", "binary/octet-stream")
            ):
                raise _FailedError("wrong type")
            if (response.content_length or 0) > self.rules.max_bytes:
                raise _FailedError("too many bytes")
            parts: list[bytes] = []
            size = 0
            async for part in response.content.iter_chunked(65536):
                size += len(part)
                if size > self.rules.max_bytes:
                    raise _FailedError("too many bytes")
                parts.append(part)
        data = b"".join(parts)
        if not data:
            raise _FailedError("empty")
        check_image(data, self.rules.max_pixels)
        return data

    async def allowed(self, host: _Host, url: str) -> bool:
        """Whether the host's robots.txt lets us fetch `url`; read once a host.

        As RFC 9309 says: a robots.txt that is not there (4xx) allows all, one that a server cannot give (5xx) forbids
        all. Where a host does not answer at all, that is the failure of all its URLs.
        """
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc}/robots.txt"
        async with host.robots:
            if host.silent is not None:
                raise _FailedError(host.silent)
            read_at, robots = _ROBOTS.get(place, (-_ROBOTS_S, ALL))
            if time.monotonic() - read_at >= _ROBOTS_S:
                try:
                    async with _classified(host):
                        robots = await self.read_robots(host, place)
                except _FailedError as failed:
                    host.silent = failed.reason
                    raise _FailedError(failed.reason) from None
                _ROBOTS[place] = time.monotonic(), robots
        return robots.allows(url)

    async def read_robots(self, host: _Host, url: str) -> Robots:
        """Return the rules of a host, redirects followed."""
        for _ in range(self.rules.max_redirects + 1):
            check_url(url, self.rules.networks)
            async with self.turn(host), self.session.get(url, allow_redirects=False) as response:
                if 300 <= response.status < 400 and "Location" in response.headers:
                    url = urljoin(url, response.headers["Location"])
                    continue
                if response.status != 200:
                    return ALL if response.status < 500 else NONE
                text = bytearray()
                async for part in response.content.iter_chunked(65536):
                    text += part
                    if len(text) >= MAX_BYTES:
                        break
                return Robots.parse(text[:MAX_BYTES].decode("utf-8", errors="replace"), AGENT)
        return ALL  # nowhere to be found

    @asynccontextmanager
    async def turn(self, host: _Host) -> AsyncIterator[None]:
        """Wait for a turn at a host: few at once, and a pause between them."""
        async with host.slots:
            now = time.monotonic()
            begins = max(now, host.next_at)
            host.next_at = begins + self.rules.host_pause_s
            if begins > now:
                await asyncio.sleep(begins - now)
            async with self.slots:
                yield


@asynccontextmanager
async def _classified(host: _Host) -> AsyncIterator[None]:
    """Turn what may go wrong on the way into a class; count a host's failures to answer at all, in a row."""
    try:
        yield
    except ForbiddenError as error:
        raise _FailedError(error.reason) from None
    except _FailedError:
        raise
    except TimeoutError:
        host.failures += 1
        raise _FailedError("time-out", again=True) from None
    except (aiohttp.ClientConnectorError, aiohttp.ClientSSLError) as error:
        if forbidden := _forbidden(error):
            raise _FailedError(forbidden) from None
        host.failures += 1
        if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
            raise _FailedError("TLS") from None
        unknown = isinstance(error, aiohttp.ClientConnectorDNSError)
        raise _FailedError("name not resolved" if unknown else "no connection", again=True) from None
    except aiohttp.ClientPayloadError:
        raise _FailedError("body cut off", again=True) from None
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError):
        raise _FailedError("reset", again=True) from None
    except aiohttp.InvalidURL:
        raise _FailedError("bad URL") from None
    except (aiohttp.ClientError, ValueError):
        raise _FailedError("bad answer") from None


def _forbidden(error: BaseException | None) -> str | None:
    """Return why our own resolver refused, however deep aiohttp wrapped it."""
    while error is not None:
        if isinstance(error, ForbiddenError):
            return error.reason
        error = error.__cause__ or error.__context__
    return None


def check_image(data: bytes, max_pixels: int) -> None:
    """Refuse what does not begin like an image, and what would be too large once decoded; pixels stay undecoded."""
    if not data.startswith(_MAGIC) and data[4:12] not in (b"ftypavif", b"ftypheic"):
        raise _FailedError("wrong type")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            width, height = Image.open(io.BytesIO(data)).size
    except Image.DecompressionBombError:
        raise _FailedError("too many pixels") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return  # damaged: what is wrong is found, and counted, where images are decoded
    if width * height > max_pixels:
        raise _FailedError("too many pixels")


def _refusal(headers: Sequence[str], refused: Sequence[str]) -> str | None:
    """Return which word of an X-Robots-Tag speaks against us: for everybody, or for our name."""
    for header in headers:
        agent, colon, rest = header.partition(":")
        if colon and agent.strip().lower() not in (AGENT, "*", ""):
            continue
        for word in (rest if colon else header).lower().split(","):
            if word.strip() in refused:
                return word.strip()
    return None


def _retry_after(response: Any) -> float:
    """Return how many seconds a server asks to wait, at most 30."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), 30.0) if text.isdigit() else 0.0
