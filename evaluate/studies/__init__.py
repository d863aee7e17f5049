"""What a command measures: score, copies, morphology, utility, judge, curve."""
