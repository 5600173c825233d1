"""The steps of the funnel: a rule and its step each."""
