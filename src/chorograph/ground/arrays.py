"""Array types, on one page. numpy's types carry no shape, so the name says which one is meant."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Numbers to reckon with, shape (n,).
Vector = NDArray[np.float64]
#: Numbers to reckon with, shape (n, width): a row an object, a column a feature.
Matrix = NDArray[np.float64]
#: Embeddings, shape (n, width).
Vectors = NDArray[np.float32]
#: Positions in a table or a list, or numbers of classes, shape (n,) or (n, k).
Indices = NDArray[np.int64]
#: Which rows or cells are meant, shape (n,) or (height, width).
Mask = NDArray[np.bool_]
#: A picture, shape (height, width, 3), 0 to 255.
Pixels = NDArray[np.uint8]
#: How well each place of a picture answers, shape (height, width).
HeatMap = NDArray[np.floating]
#: Hashes of 64 bits, shape (n,).
Hashes = NDArray[np.uint64]
