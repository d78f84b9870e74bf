"""The networks: their catalogue, their weights, and running them."""
