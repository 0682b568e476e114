"""Settings from files, secrets, environment variables and options."""
