"""How predictions are judged: scores, intervals, leaks, what each kind of data adds, where to survey next."""
