"""How well a method finds what it should, measured on pictures with known answers."""
