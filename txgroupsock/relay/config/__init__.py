"""The configuration file, and the table of all that it may say."""
