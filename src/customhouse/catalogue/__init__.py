"""What is installed in an image: operating system, packages, and where each of them was seen."""
