"""What an examination tells: one value, and the forms in which people and programs read it."""
