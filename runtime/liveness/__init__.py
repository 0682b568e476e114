"""From a pair, or a stream of pairs, to a decision."""
