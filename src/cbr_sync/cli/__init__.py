"""What is for people alone: never imported in the cloud, and not shipped to it."""
