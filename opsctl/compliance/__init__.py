"""Controls checked on hosts, judged on this side."""
