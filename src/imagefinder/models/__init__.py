"""Networks as data: what exists, where the weights come from, how they become a running graph."""
