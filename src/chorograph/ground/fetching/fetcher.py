"""Fetching by URL: every URL ends as bytes or as a counted reason, within a deadline, politely.

Politeness: a few connections and a pause a host, Retry-After, robots.txt and `noai` headers respected. Safety: http and
https on public addresses only, redirects followed by hand and judged like any URL, limits on bytes and time.

    found = fetch(urls, FetchRules(robots=False, per_host=2), Wanted(headers={"Authorization": "…"}))

Who asks for one thing after another, or for parts of files, holds a `client` open.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Protocol, Self
from urllib.parse import urljoin, urlsplit

import aiohttp

from chorograph.ground.errors import InputError
from chorograph.ground.fetching.addresses import ForbiddenError, PublicResolver, check_url
from chorograph.ground.fetching.robots import ALL, MAX_BYTES, NONE, Robots

#: Our name where robots.txt and X-Robots-Tag speak of us; the User-Agent begins with it.
AGENT = "chorograph"
#: Headers that say: not for machine learning (X-Robots-Tag).
NOAI = ("noai", "noimageai")
#: No headers.
NOTHING: Mapping[str, str] = MappingProxyType({})
#: Types that say nothing of what is sent.
_UNTYPED = ("", "application/octet-stream", "binary/octet-stream")
#: What robots.txt files said and when, a process: read once a host and day.
_ROBOTS: dict[str, tuple[float, Robots]] = {}
_ROBOTS_S = 86_400


@dataclass(frozen=True)
class Fetched:
    """How a URL ended: its bytes and their type as the server said it, or the class of its failure."""

    data: bytes = b""
    reason: str | None = None
    content_type: str = ""


@dataclass(frozen=True)
class FetchRules:
    """How politely, how long and how much is fetched.

    `sample_s` bounds all tries of a URL together, from its first request on. Time-outs, resets, 429 and 5xx are tried
    again, as late as Retry-After asks where that is within `retry_after_s`; everything else is final. A host that has
    not answered `give_up_host_after` requests in a row (at least twice as many as it is asked at once) is not asked
    again. `allow` lists networks (CIDR) that may be fetched from although they are private. A client of an API sets
    `robots` to false; `contact` (an address or page) is put into the User-Agent.
    """

    connections: int = 64
    per_host: int = 4
    host_pause_s: float = 0.05
    connect_s: float = 10.0
    idle_s: float = 10.0
    try_s: float = 30.0
    sample_s: float = 90.0
    tries: int = 3
    wait_s: float = 1.0
    retry_after_s: float = 30.0
    give_up_host_after: int = 20
    max_redirects: int = 5
    max_bytes: int = 20_000_000
    robots: bool = True
    refuse_headers: tuple[str, ...] = NOAI
    allow: tuple[str, ...] = ()
    contact: str = ""

    def __post_init__(self) -> None:
        if min(self.connections, self.per_host, self.tries, self.max_bytes) < 1 or self.try_s <= 0:
            raise InputError("fetch: connections, per_host, tries, max_bytes and try_s are positive")
        if not self.contact.isprintable():
            raise InputError("fetch: contact is one line of printable characters")
        try:
            _ = self.networks
        except ValueError as error:
            raise InputError(f"fetch: allow lists networks like 10.0.0.0/8: {error}") from None

    @property
    def networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The private networks that may be fetched from."""
        return tuple(ipaddress.ip_network(text) for text in self.allow)

    @property
    def user_agent(self) -> str:
        """What servers are told: our name, and whom to ask where `contact` is set."""
        return f"{AGENT} (+{self.contact})" if self.contact else AGENT


@dataclass(frozen=True)
class Wanted:
    """What an answer must be: a content type that begins so (empty: any), and bytes that `judge` finds no fault with.

    `headers` go to the host of each URL, never to another one that it redirects to. `judge` returns the reason for
    which bytes are refused, or None. `status` is the one that is asked for: 206 where a part of a file is. A `body`
    goes to the same hosts, by POST.
    """

    types: tuple[str, ...] = ()
    judge: Callable[[bytes], str | None] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    body: bytes | None = None

    def takes(self, content_type: str) -> bool:
        """Whether a type is one of those wanted; a server that says none is believed."""
        return not self.types or content_type in _UNTYPED or content_type.startswith(self.types)


ANYTHING = Wanted()


class Get(Protocol):
    """Fetches one URL; never raises for what the other side does."""

    async def __call__(self, url: str, headers: Mapping[str, str] = ...) -> Fetched:
        """Return how it ended; `headers` go along with those of all requests."""


def fetch(urls: Sequence[str | None], rules: FetchRules, wanted: Wanted = ANYTHING) -> list[Fetched]:
    """Fetch every URL; returns how each ended, in order. For more than memory holds, `fetch_all`."""
    found: dict[int, Fetched] = {}
    fetch_all(urls, rules, found.__setitem__, wanted)
    return [found[number] for number in range(len(urls))]


def fetch_all(
    urls: Sequence[str | None], rules: FetchRules, take: Callable[[int, Fetched], None], wanted: Wanted = ANYTHING
) -> None:
    """Fetch every URL and hand each to `take` (its number, how it ended) as soon as it has ended.

    Raises nothing for what other machines do; what `take` raises ends the run and is raised.
    """
    if not urls:
        return
    try:
        _run(_Fetcher(rules, wanted).run(urls, take))
    except BaseExceptionGroup as group:
        # One `take` failed and ended the others: what it said, not how the tasks were grouped.
        raise _first(group) from None


@asynccontextmanager
async def client(rules: FetchRules, wanted: Wanted = ANYTHING) -> AsyncIterator[Get]:
    """Hold connections open for many requests, each asked for when it is needed; what `fetch` promises holds."""
    async with _Fetcher(rules, wanted).open() as fetcher:
        yield fetcher.one


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, also where a loop runs already (a notebook, a server)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
    else:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, work).result()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _in_turns(urls: Sequence[str | None]) -> list[int]:
    """Return the numbers of URLs, each host's first one first: no host holds up the others."""
    seen: Counter[str] = Counter()
    turns = []
    for number, url in enumerate(urls):
        host = (url or "").partition("://")[2].partition("/")[0]
        turns.append((seen[host], number))
        seen[host] += 1
    return [number for _, number in sorted(turns)]


class _FailedError(Exception):
    """A try that failed; `again` says whether another may do better."""

    def __init__(self, reason: str, again: bool = False, wait_s: float = 0.0) -> None:
        self.reason, self.again, self.wait_s = reason, again, wait_s
        super().__init__(reason)


@dataclass
class _Host:
    """What is known of a host while a batch runs."""

    slots: asyncio.Semaphore
    robots: asyncio.Lock = field(default_factory=asyncio.Lock)
    silent: str | None = None  # why its robots.txt could not be had
    next_at: float = 0.0
    failures: int = 0


class _Fetcher:
    def __init__(self, rules: FetchRules, wanted: Wanted) -> None:
        self.rules = rules
        self.wanted = wanted
        self.hosts: dict[str, _Host] = {}
        self.judged: set[str] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Hold a session open."""
        rules = self.rules
        self.slots = asyncio.Semaphore(rules.connections)
        connector = aiohttp.TCPConnector(
            resolver=PublicResolver(rules.networks), limit=0, use_dns_cache=True, ttl_dns_cache=60, force_close=False
        )
        timeout = aiohttp.ClientTimeout(total=rules.try_s, sock_connect=rules.connect_s, sock_read=rules.idle_s)
        accept = ", ".join(f"{kind}*" if kind.endswith("/") else kind for kind in self.wanted.types) or "*/*"
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            headers={"User-Agent": rules.user_agent, "Accept": accept, "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        ) as self.session:
            yield self

    async def run(self, urls: Sequence[str | None], take: Callable[[int, Fetched], None]) -> None:
        """Fetch every URL and hand each to `take`."""
        async with self.open():
            # A bounded crowd of workers, so that a million URLs are not a million tasks.
            queue = iter(_in_turns(urls))

            async def work() -> None:
                for number in queue:
                    take(number, await self.one(urls[number]))

            workers = min(len(urls), self.rules.connections * 4)
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(work())

    async def one(self, url: str | None, headers: Mapping[str, str] = NOTHING) -> Fetched:
        """Fetch one URL with its tries; never raises for what the other side does."""
        if url is None:
            return Fetched(reason="no URL")
        # The clock of a sample starts with its first request: waiting politely for a busy host costs it nothing.
        try:
            async with asyncio.timeout(None) as clock:
                return await self.attempts(url, {**self.wanted.headers, **headers}, clock)
        except TimeoutError:
            return Fetched(reason="time-out")

    async def attempts(self, url: str, headers: Mapping[str, str], clock: asyncio.Timeout) -> Fetched:
        """Try until it ends well, or for good."""
        tries = 0
        while True:
            tries += 1
            try:
                return await self.attempt(url, headers, clock)
            except _FailedError as failed:
                if not failed.again or tries >= self.rules.tries:
                    return Fetched(reason=failed.reason)
                await asyncio.sleep(max(failed.wait_s, self.rules.wait_s * 2 ** (tries - 1)))
            except Exception:
                # No answer, however odd, ends the run of all others.
                return Fetched(reason="bad answer")

    async def attempt(self, url: str, headers: Mapping[str, str], clock: asyncio.Timeout) -> Fetched:
        """Follow a URL through its redirects to bytes; `_FailedError` with the class of failure."""
        here = url.strip()
        origin = None
        for _ in range(self.rules.max_redirects + 1):
            place = self.place_of(here)
            origin = origin or place
            host = self.hosts.setdefault(place, _Host(asyncio.Semaphore(self.rules.per_host)))
            if self.rules.robots and not await self.allowed(host, here):
                raise _FailedError("robots.txt")
            async with self.turn(host):
                if host.failures >= max(self.rules.give_up_host_after, 2 * self.rules.per_host):
                    raise _FailedError("host given up")
                if clock.when() is None:
                    clock.reschedule(asyncio.get_running_loop().time() + self.rules.sample_s)
                async with _classified(host):
                    answer = await self.ask(here, host, headers if place == origin else NOTHING, place == origin)
            if isinstance(answer, Fetched):
                return answer
            here = _joined(here, answer)
        raise _FailedError("too many redirects")

    def place_of(self, url: str) -> str:
        """Return the scheme and host of a URL that may be asked for; of one host they are judged once."""
        scheme, _, rest = url.partition("://")
        place = f"{scheme}://{rest.partition('/')[0]}"
        if place in self.judged and url.isascii():
            return place
        try:
            check_url(url, self.rules.networks)
        except ForbiddenError as error:
            raise _FailedError(error.reason) from None
        parts = urlsplit(url)
        if place == f"{parts.scheme}://{parts.netloc}":
            self.judged.add(place)
        return f"{parts.scheme}://{parts.netloc}"

    async def ask(self, url: str, host: _Host, headers: Mapping[str, str], own: bool) -> Fetched | str:
        """Return what a URL holds, or where it redirects to; a body goes to the `own` host alone."""
        body = self.wanted.body if own else None
        method = "GET" if body is None else "POST"
        async with self.session.request(method, url, allow_redirects=False, headers=headers, data=body) as response:
            host.failures = 0  # it answers
            if response.status in (301, 302, 303, 307, 308):
                if "Location" not in response.headers:
                    raise _FailedError("redirect to nowhere")
                return response.headers["Location"]
            if response.status != self.wanted.status:
                raise self.refused(response, host)
            if word := _refusal(response.headers.getall("X-Robots-Tag", []), self.rules.refuse_headers):
                raise _FailedError(f"header {word}")
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if not self.wanted.takes(kind):
                raise _FailedError("wrong type")
            data = await self.body(response)
        if fault := self.wanted.judge(data) if self.wanted.judge else None:
            raise _FailedError(fault)
        return Fetched(data, content_type=kind)

    async def body(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the bytes of an answer, some and not too many."""
        if (response.content_length or 0) > self.rules.max_bytes:
            raise _FailedError("too many bytes")
        parts: list[bytes] = []
        size = 0
        while part := await response.content.readany():
            size += len(part)
            if size > self.rules.max_bytes:
                raise _FailedError("too many bytes")
            parts.append(part)
        if not size:
            raise _FailedError("empty")
        return b"".join(parts)

    def refused(self, response: aiohttp.ClientResponse, host: _Host) -> _FailedError:
        """Return the failure that a status is; a host that asks to wait is left alone by all its URLs."""
        wait_s = _retry_after(response.headers.get("Retry-After", ""))
        again = response.status in (408, 425, 429) or response.status >= 500
        # Asked to wait longer than we may, it is not asked again, instead of too early.
        again = again and wait_s <= self.rules.retry_after_s
        if again:
            host.next_at = max(host.next_at, time.monotonic() + wait_s)
        return _FailedError(f"HTTP {response.status}", again, wait_s)

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
        """Return the rules of a host, redirects followed; one to nowhere is a robots.txt that is not there."""
        for _ in range(self.rules.max_redirects + 1):
            check_url(url, self.rules.networks)
            async with self.turn(host), self.session.get(url, allow_redirects=False) as response:
                if 300 <= response.status < 400 and "Location" in response.headers:
                    url = _joined(url, response.headers["Location"])
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
    except Exception:
        # A library's own exceptions come and go with its versions; none of them is ours to die of.
        raise _FailedError("bad answer") from None


def _joined(url: str, location: str) -> str:
    """Return where a redirect leads."""
    try:
        return urljoin(url, location)
    except ValueError:
        raise _FailedError("bad URL") from None


def _forbidden(error: BaseException | None) -> str | None:
    """Return why our own resolver refused, however deep aiohttp wrapped it."""
    while error is not None:
        if isinstance(error, ForbiddenError):
            return error.reason
        error = error.__cause__ or error.__context__
    return None


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


def _retry_after(text: str) -> float:
    """Return how many seconds a server asks to wait, as RFC 9110 has it: a number or a date; 0 for neither."""
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
