"""Score calibration: the probability that chance reaches a value."""
