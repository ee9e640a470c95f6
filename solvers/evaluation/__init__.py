"""Numbers: the test split looked at once, and what each family of numbers makes of it."""
