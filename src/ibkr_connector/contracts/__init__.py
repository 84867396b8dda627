"""From names to qualified contracts and their rules."""
