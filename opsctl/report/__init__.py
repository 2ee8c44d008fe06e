"""What was found, for people: the same facts as HTML and JSON."""
