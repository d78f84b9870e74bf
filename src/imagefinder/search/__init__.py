"""From a query to a ranked answer."""
