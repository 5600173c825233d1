"""Indicators for regions: features, tasks, probes, cross-fitting, intervals, scores, profiles."""
