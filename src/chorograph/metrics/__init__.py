"""Pure numpy arithmetic of judgement: targets and predictions in, numbers out."""
