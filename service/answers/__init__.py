"""Predictions to answers, by media type."""
