"""What a person can ask for, shared by the page, the command line and the API."""
