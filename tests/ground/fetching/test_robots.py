"""robots.txt by the examples of RFC 9309, and where the standard library's parser says something else."""

from __future__ import annotations

import re
from urllib.robotparser import RobotFileParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bad_server import bad_server, small_image
from chorograph.ground.fetching.fetcher import FetchRules, fetch
from chorograph.ground.fetching.robots import ALL, NONE, Robots, Rule

SITE = "https://www.example.com"
#: RFC 9309, 5.1.
SIMPLE = """
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""
#: RFC 9309, 5.2.
LONGEST = """
User-Agent: foobot
Allow: /example/page/
Disallow: /example/page/disallowed.gif
"""


def allowed(text: str, path: str, agent: str = "foobot") -> bool:
    return Robots.parse(text, agent).allows(SITE + path)


@pytest.mark.parametrize(
    ("agent", "path", "may"),
    [
        ("foobot", "/example/page.html", True),
        ("FooBot", "/example/allowed.gif", True),
        ("foobot", "/example/other.html", False),
        ("foobot", "/publications/", False),
        ("barbot", "/example/page.html", False),
        ("bazbot", "/example/page.html", False),
        ("bazbot", "/example/allowed.gif", True),
        ("quxbot", "/example/page.html", True),
        ("other", "/picture.gif", False),
        ("other", "/picture.gif?size=2", True),
        ("other", "/example/page.html", False),
        ("other", "/publications/", True),
        ("other", "/publications/a.gif", True),  # the longer rule
    ],
)
def test_the_simple_example(agent: str, path: str, may: bool) -> None:
    assert allowed(SIMPLE, path, agent) is may


def test_the_longest_match() -> None:
    assert allowed(LONGEST, "/example/page/")
    assert not allowed(LONGEST, "/example/page/disallowed.gif")
    turned = "\n".join(reversed(LONGEST.strip().splitlines()[1:]))
    assert not allowed(f"User-Agent: foobot\n{turned}", "/example/page/disallowed.gif")
    # Of equal ones, the one that allows.
    assert allowed("User-Agent: *\nDisallow: /a\nAllow: /a", "/a")


@pytest.mark.parametrize(
    ("rule", "path", "fits"),
    [
        ("/this/*/exactly", "/this/path/exactly", True),  # 2.2.3
        ("/this/*/exactly", "/this/exactly", False),
        ("/this/path/exactly$", "/this/path/exactly", True),
        ("/this/path/exactly$", "/this/path/exactly.html", False),
        ("/path/file-with-a-%2A.html", "/path/file-with-a-*.html", True),
        ("/path/file-with-a-%2A.html", "/path/file-with-a-b.html", False),
        ("/path/foo-%24", "/path/foo-$", True),
        ("/path/foo-%24", "/path/foo-", False),
        # 2.2.2
        ("/foo/bar?baz=quz", "/foo/bar?baz=quz", True),
        ("/foo/bar?baz=https://foo.bar", "/foo/bar?baz=https%3A%2F%2Ffoo.bar", True),
        ("/foo/bar?baz=https%3A%2F%2Ffoo.bar", "/foo/bar?baz=https://foo.bar", True),
        ("/foo/bar/ツ", "/foo/bar/%E3%83%84", True),
        ("/foo/bar/%E3%83%84", "/foo/bar/ツ", True),
        ("/foo/bar/%e3%83%84", "/foo/bar/%E3%83%84", True),
        ("/foo/bar/%62%61%7A", "/foo/bar/baz", True),
        ("/a%2Fb", "/a/b", False),  # another path
        ("/a?b&c", "/a?b%26c", False),
        ("*", "/", True),
        ("/*.php$", "/folder/index.php", True),
        ("/*.php$", "/index.php?a", False),
        ("/fish*.php", "/fishheads/catfish.php?p=1", True),
        ("/fish*.php", "/Fish.PHP", False),
        ("/a$b", "/a", False),
        ("/a*a$", "/a", False),
        ("/*/*", "/a", False),
    ],
)
def test_paths_are_compared_as_the_rfc_says(rule: str, path: str, fits: bool) -> None:
    assert allowed(f"User-agent: *\nDisallow: {rule}", path) is not fits


def test_groups_are_joined_and_other_lines_do_not_part_them() -> None:
    text = "\ufeffuser-agent: FOOBOT/2.1\r\nSitemap: /s.xml\r\nUser-agent: b # both\rDisallow: /x\nnonsense\n"
    text += "User-agent: *\nDisallow: /\n\nUser-agent: foobot\nCrawl-delay: 3\nDisallow: /y\n"
    assert not allowed(text, "/x") and not allowed(text, "/y") and allowed(text, "/z")
    assert not allowed(text, "/x", "b") and allowed(text, "/y", "b")
    assert not allowed(text, "/z", "c")
    # A group that names us and forbids nothing stands before one for everybody.
    assert allowed("User-agent: foobot\nDisallow:\nUser-agent: *\nDisallow: /", "/a")
    assert allowed("Disallow: /", "/a")  # a rule before any group is nobody's
    assert allowed("User-agent: *\nDisallow: /", "/robots.txt")
    assert ALL.allows(f"{SITE}/a") and not NONE.allows(SITE)


def test_what_the_standard_library_does_not_read() -> None:
    plain = RobotFileParser()
    plain.parse(["User-agent: *", "Allow: /", "Disallow: /private/*.jpg$"])
    assert plain.can_fetch("foobot", f"{SITE}/private/a.jpg")
    assert not allowed("User-agent: *\nAllow: /\nDisallow: /private/*.jpg$", "/private/a.jpg")


@given(st.text("ab*", max_size=8), st.booleans(), st.text("ab", max_size=10))
@settings(max_examples=300, deadline=None)
def test_stars_are_those_of_an_expression(rule: str, ends: bool, path: str) -> None:
    expression = rule.replace("*", ".*") + ("$" if ends else "")
    assert Rule(rule + "$" * ends, True).fits(path) is (re.match(expression, path) is not None)


def test_no_pattern_takes_long() -> None:
    assert not Rule("/" + "*a" * 2000 + "$", False).fits("/" + "a" * 1999 + "b")
    assert not Rule("/" + "*a" * 2000 + "b", False).fits("/" + "a" * 100_000)


def test_the_fetcher_goes_by_it_however_long_the_file() -> None:
    filler = "# nothing\n" * 20_000  # comes in many pieces
    text = f"User-agent: *\n{filler}Disallow: /*/1$\nAllow: /image/\nDisallow: /image/3\n"
    with bad_server(pictures={"/robots.txt": text.encode()}) as server:
        rules = FetchRules(host_pause_s=0, allow=("127.0.0.2/32",))
        found = fetch([server.url("image", number) for number in range(1, 4)], rules)
    assert [found[place].reason for place in range(3)] == [None, None, "robots.txt"]
    assert found[0].data == small_image(1)  # `/image/` is longer than `/*/1$`
