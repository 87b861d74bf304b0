"""Official repositories kept at other registries and trust servers."""
