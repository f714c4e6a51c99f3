"""Proofs of training: what one card holds in a step of transformers' Trainer.

`plan` answers as an engine does, `recorded` and `activations` know what a step keeps alive, `optimizers` what is kept
of each weight, `adapters` what LoRA adds, `sharding` what each of several cards has.
"""
