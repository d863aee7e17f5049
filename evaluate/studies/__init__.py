"""The measurements behind the commands score, copies, morphology, utility, judge and curve."""
