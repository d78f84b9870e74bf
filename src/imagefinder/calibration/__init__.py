"""From values to how often chance would reach them."""
