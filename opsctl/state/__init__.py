"""What survives a crash: the store, its leases and the ledger."""
