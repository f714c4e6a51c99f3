"""How images are made and started: their stages, their size, their shells, and what was left on in them."""
