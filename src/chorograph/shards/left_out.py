"""What is no image-text pair: counted by its reason, with an example and a remedy for the end of an error."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from chorograph.ground.image_formats import EXTENSIONS
from chorograph.shards.samples import CAPTIONS, DOTTED, SECOND_IMAGE, UNNAMED_CAPTION
from chorograph.shards.tar import Drop

#: What to do, for the first reason here that was met.
_REMEDIES = {
    "duplicate key": "members of one key must follow each other: pack anew, sorted by name (tar --sort=name)",
    DOTTED: "all after the first dot of a name is its extension: rename without other dots, and pack anew",
    UNNAMED_CAPTION: "a json's caption is the value of `caption` or `captions`: rename yours, or put it into a .txt",
    "image without a caption": "image and caption need one name, folder included (a/1.jpg, a/1.txt), and captions end "
    f"in {', '.join(CAPTIONS)}: rename, and pack anew",
    "caption without an image": f"images end in {', '.join(EXTENSIONS[:4])}, …: convert or rename them, and pack anew",
    "member without key or extension": "members are called KEY.EXTENSION (0001.jpg, 0001.txt): rename, and pack anew",
    "member leads out of the shard": "names that begin with / or hold .. are not read: pack anew, with names from the "
    "folder on (tar -C FOLDER .)",
    "member is a link": "a link holds no bytes: pack anew with the files themselves (tar --dereference)",
    "member holds a pickle": "pickles and arrays are never read: write images as jpg or png, captions as txt",
    "member is no plain file": "pack anew without sparse files and devices",
    "caption is not UTF-8": "save the texts as UTF-8",
    "caption is empty": "there is no text to learn from: write captions (`chorograph caption`, for an area)",
    "shard damaged": "get the shards again",
    "shard truncated": "get the shards again",
    "image is a URL": "pairs by URL are fetched and packed by `chorograph curate`, from Parquet",
    "image is not there": "give paths from the table's folder, and images as .jpg, .png or the like",
}


@dataclass
class LeftOut:
    """Counts what is left out and tells it to `drop`; as text, the end of an error."""

    drop: Drop
    place: str = ""
    counted: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def tell(self, reason: str, number: int = 1, example: str = "") -> None:
        """Count `number` things, of which `example` is one."""
        self.counted[reason] += number
        self.examples.setdefault(reason, example or self.place)
        for _ in range(number):
            self.drop(reason)

    def __str__(self) -> str:
        """Return reasons with their numbers and an example each, and a remedy."""
        lost = {reason: number for reason, number in self.counted.items() if reason != SECOND_IMAGE}
        if not lost:
            return "it is empty"
        said = ", ".join(f"{number} x {reason} ({self.examples[reason]})" for reason, number in lost.items())
        remedy = next((f"; {remedy}" for reason, remedy in _REMEDIES.items() if reason in lost), "")
        return f"left out: {said}{remedy}"
