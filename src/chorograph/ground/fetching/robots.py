"""robots.txt as RFC 9309 has it: groups by product token, `*` and `$` in paths, the longest rule wins.

The standard library's parser takes `*` and `$` for themselves, and the first rule that fits instead of the longest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

#: What need not be read beyond (RFC 9309, 2.5: at least 500 kibibytes).
MAX_BYTES = 512_000
_TOKEN = re.compile(r"[A-Za-z_-]+|\*")
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
#: What means the same encoded and plain (RFC 3986): in a path, and beyond its question mark.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:@")
_PLAIN_IN_QUERY = _PLAIN | {"/", "?"}
_ASCII = "".join(map(chr, range(33, 127)))


@dataclass(frozen=True)
class Rule:
    """Whether what lies under a path may be fetched; the path as it is compared."""

    path: str
    allow: bool

    def fits(self, path: str) -> bool:
        """Whether a path begins as the rule says; `*` is any characters, and `$` at the end is the end.

        Each part between stars is looked for from where the one before ended, so that no pattern takes long.
        """
        ends = self.path.endswith("$")
        first, *others = self.path.removesuffix("$").split("*")
        if not path.startswith(first):
            return False
        at = len(first)
        if not others:
            return not ends or at == len(path)
        *between, last = others
        for part in between:
            found = path.find(part, at)
            if found < 0:
                return False
            at = found + len(part)
        return path.find(last, at) >= 0 if not ends else path.endswith(last) and at <= len(path) - len(last)


@dataclass(frozen=True)
class Robots:
    """What a robots.txt says to one agent; without rules, all may be fetched."""

    rules: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, text: str, agent: str) -> Robots:
        """Read the groups that name `agent`, in any case, as one group; where none does, those of `*`."""
        rules: dict[str, list[Rule]] = {}
        agents: list[str] = []
        begun = False
        for line in text.removeprefix("\ufeff").splitlines():
            name, _, value = line.partition("#")[0].partition(":")
            name, value = name.strip().lower(), value.strip()
            if name == "user-agent":
                agents, begun = ([] if begun else agents), False
                if token := _TOKEN.match(value):
                    agents.append(token[0].lower())
                    rules.setdefault(agents[-1], [])
            elif name in ("allow", "disallow"):
                begun = True
                for named in agents if value else []:  # an empty path says nothing
                    rules[named].append(Rule(_comparable(value), name == "allow"))
        return cls(tuple(rules.get(agent.lower(), rules.get("*", []))))

    def allows(self, url: str) -> bool:
        """Whether a URL may be fetched: by the longest rule that fits, and of two as long, by the one that allows."""
        parts = urlsplit(url)
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        path = _comparable(path).replace("*", "%2A").replace("$", "%24")
        fitting = [(len(rule.path), rule.allow) for rule in self.rules if rule.fits(path)]
        return path == "/robots.txt" or not fitting or max(fitting)[1]


ALL = Robots()
NONE = Robots((Rule("/", allow=False),))


def _comparable(path: str) -> str:
    """Return a path with everything encoded that has to be, and nothing else."""
    before, mark, after = quote(path, safe=_ASCII).partition("?")

    def plain(part: str, characters: frozenset[str]) -> str:
        def put(match: re.Match[str]) -> str:
            character = chr(int(match[1], 16))
            return character if character in characters else match[0].upper()

        return _ENCODED.sub(put, part)

    return plain(before, _PLAIN) + mark + plain(after, _PLAIN_IN_QUERY)
