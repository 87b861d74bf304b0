"""Secrets in images: rules as documents, an engine that reads at the speed of a layer, and readers for its files."""
