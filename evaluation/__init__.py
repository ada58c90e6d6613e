"""Data sets, scoring, curation, detectors and experiments. Knows nothing of language models."""
