"""Questions asked of predictions: what explains them, what text adds, how they bear bad imagery and other areas."""
