"""The names of CompGCN's compositions, for configurations that must not import torch."""

COMPOSITION_NAMES = ("rotate", "sub", "mul", "ccorr")
