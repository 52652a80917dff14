"""What every web server of the project shares: who may ask, how much, and how it is run."""
