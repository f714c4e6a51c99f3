"""How a forward pass of transformers becomes formulas: traced in several sizes, each shape in the config's names.

`samples` finds configs of one structure and many sizes, `symbols` finds what a number is in the names of the config,
`moments` adds up what is alive and keeps the moments that can be the worst. scripts/record_activations.py runs them.
"""
