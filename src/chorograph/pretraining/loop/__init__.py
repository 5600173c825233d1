"""The loop of training: steps, order, processes, states."""
