"""What frozen features are worth: extraction, linear probe, nearest neighbours, metrics."""
