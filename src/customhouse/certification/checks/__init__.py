"""The rule book: one check a file, each as the constant CHECK. Files that begin with an underscore hold none."""
