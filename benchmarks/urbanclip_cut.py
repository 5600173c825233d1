"""Every third tile each way of a city of UrbanCLIP's labels, as an area of its own: predicted in a minute.

    chorograph area import urbanclip SRC AREA
    python benchmarks/urbanclip_cut.py AREA Beijing OUT

Tiles without all three labels are left out, and those with a zero, which may mean missing. It has no images.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area

STEP = 3


def main() -> None:
    source, city, out = Area.open(Path(sys.argv[1])), sys.argv[2], Path(sys.argv[3])
    regions = source.regions[source.regions["region_id"].str.startswith(f"{city}/")]
    numbers = regions["region_id"].str.extract(r"_(\d+)_(\d+)").astype(int).to_numpy()
    thinned = set(regions["region_id"][(numbers % STEP == 0).all(1)])
    labels = source.indicators
    labels = labels[labels["region_id"].isin(thinned) & (labels["value"] > 0)]
    counts = labels.groupby("region_id").size()
    kept = set(counts.index[counts == labels["indicator"].nunique()])
    with AreaDraft(out, f"{city}, thinned") as draft:
        draft.write("regions", regions[regions["region_id"].isin(kept)].reset_index(drop=True))
        draft.write("indicators", labels[labels["region_id"].isin(kept)].reset_index(drop=True))
    print(f"{len(kept)} tiles")


if __name__ == "__main__":
    main()
