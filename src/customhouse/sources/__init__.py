"""Other registries and trust servers that the hub may read from, each for one publisher."""
