"""What is said and in which order: messages, their ids, the ledger that commits them, and history."""
