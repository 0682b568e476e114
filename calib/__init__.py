"""What is measured once and then trusted: activation ranges, the decision threshold."""
