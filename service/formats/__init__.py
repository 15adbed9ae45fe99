"""Predictions as files that others read. What they take are records, as `predictions` of a JSON answer has them."""
