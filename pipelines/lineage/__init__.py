"""What every stage leaves for the audit, and numbers made again from it."""
