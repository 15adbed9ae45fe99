"""Makes artifacts: stores of patches, DINO pretraining, a linear probe, evaluation, packaging."""
