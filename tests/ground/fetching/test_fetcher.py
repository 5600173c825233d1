"""Fetching against a server that misbehaves in every way: each URL ends in its class, and nothing hangs."""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter

import pytest

from bad_server import KINDS, bad_server, small_image
from chorograph.ground.errors import InputError
from chorograph.ground.fetching.addresses import ForbiddenError, check_url, is_public
from chorograph.ground.fetching.fetcher import Fetched, FetchRules, Wanted, fetch
from chorograph.ground.fetching.images import image_fault

QUICK = FetchRules(
    connections=64, per_host=64, host_pause_s=0, connect_s=0.5, idle_s=0.5, try_s=0.8, sample_s=2.0, tries=2,
    wait_s=0.05, max_bytes=300_000, allow=("127.0.0.2/32",),
)  # fmt: skip


IMAGES = Wanted(types=("image/",), judge=lambda data: image_fault(data, 64_000_000))


def fetched(urls: list[str | None], rules: FetchRules = QUICK) -> list[Fetched]:
    return fetch(urls, rules, IMAGES)


def test_every_kind_of_misbehaviour_ends_in_its_class() -> None:
    with bad_server(slow_s=0.2) as server:
        wanted = [(kind, number) for kind in KINDS for number in range(3)]
        found = fetched([server.url(kind, number) for kind, number in wanted])
    for (kind, number), result in zip(wanted, found, strict=True):
        assert result.reason == KINDS[kind], kind
        assert result.data == (small_image(number) if KINDS[kind] is None else b""), kind
    assert server.asked["/flaky/0"] == server.asked["/error/0"] == 2
    assert server.asked["/missing/0"] == server.asked["/page/0"] == 1
    assert server.asked["/private/0"] == 0
    assert server.asked["/robots.txt"] == 1


def test_what_never_reaches_a_server_is_classed_too() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.2", 0))
        nobody = f"http://127.0.0.2:{closed.getsockname()[1]}/image/1"
    rules = FetchRules(tries=1, robots=False, connect_s=0.5, try_s=1, sample_s=2, allow=("127.0.0.2/32",))
    urls = [
        None,
        "",
        "ftp://example.org/a.jpg",
        "http://127.0.0.1/a.jpg",
        "http://[::1]/a",
        "http://0x7f.1/",
        "http:///x",
        nobody,
    ]
    reasons = [result.reason for result in fetched(urls, rules)]
    assert reasons == [
        "no URL", "bad URL", "scheme not allowed", "private address", "private address", "private address", "bad URL",
        "no connection",
    ]  # fmt: skip


def test_a_name_is_judged_by_what_it_resolves_to() -> None:
    rules = FetchRules(tries=1, robots=False, connect_s=2, try_s=4, sample_s=5)
    assert fetched(["http://localhost:1/a.jpg"], rules)[0].reason == "private address"
    guarded = FetchRules(tries=1, robots=True, connect_s=2, try_s=4, sample_s=5)
    assert fetched(["http://localhost:1/a.jpg"], guarded)[0].reason == "private address"
    # A host that is not there is not a robots.txt that forbids.
    assert fetched(["http://nothing.invalid/a.jpg"] * 2, guarded)[1].reason == "name not resolved"


def test_robots_can_be_left_unread_only_by_saying_so() -> None:
    with bad_server() as server:
        rules = FetchRules(robots=False, allow=("127.0.0.2/32",))
        assert fetched([server.url("private", 1)], rules)[0].data == small_image(1)
        assert server.asked["/robots.txt"] == 0
    with bad_server(pictures={"/robots.txt": b"User-agent: chorograph\nDisallow: /\n"}) as server:
        assert fetched([server.url("image", 1)])[0].reason == "robots.txt"


def test_a_host_has_few_connections_at_once() -> None:
    with bad_server(slow_s=0.05) as server:
        rules = FetchRules(per_host=3, host_pause_s=0, allow=("127.0.0.2/32",))
        assert all(result.data for result in fetched([server.url("slow", n) for n in range(20)], rules))
    assert server.most_at_once <= 3


def test_a_host_that_never_answers_is_given_up() -> None:
    with bad_server() as server:
        rules = FetchRules(
            per_host=4, host_pause_s=0, connect_s=0.2, idle_s=0.2, try_s=0.2, tries=1, give_up_host_after=6,
            allow=("127.0.0.2/32",),
        )  # fmt: skip
        reasons = Counter(result.reason for result in fetched([server.url("silent", n) for n in range(60)], rules))
    assert reasons.keys() == {"time-out", "host given up"}
    assert reasons["host given up"] >= 45


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.5.5", "169.254.169.254", "0.0.0.1", "100.64.0.1", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "2002:7f00:1::", "64:ff9b::7f00:1", "ff02::1", "no address",
    ],
)  # fmt: skip
def test_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


def test_a_private_network_can_be_allowed() -> None:
    assert is_public("10.0.0.5", (ipaddress.ip_network("10.0.0.0/24"),))
    assert not is_public("10.0.1.5", (ipaddress.ip_network("10.0.0.0/24"),))
    with pytest.raises(ForbiddenError, match="private address"):
        check_url("http://2130706433/")
    with pytest.raises(InputError, match=r"networks like 10\.0\.0\.0/8"):
        FetchRules(allow=("example.org",))
