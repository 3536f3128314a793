"""Models that a query can call: the contract, training, saving and scoring."""
