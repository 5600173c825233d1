"""A synthetic city drawn from a seed: tiles, captions, street views, a knowledge graph and indicators."""

from chorograph.synthetic.city import SyntheticCity, SyntheticCityConfig, build_synthetic, plan_city

__all__ = ["SyntheticCity", "SyntheticCityConfig", "build_synthetic", "plan_city"]
