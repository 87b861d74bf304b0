"""What is known about flaws in packages (OSV, KEV), and which of them an image holds."""
