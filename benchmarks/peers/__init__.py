"""The compared programs, one module each. Every module has a class with the interface benchmarks.peers.peer.Peer."""
