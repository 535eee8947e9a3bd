"""Secure aggregation: the server learns a sum over nodes, and no vector of any one of them.

The protocol of Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine
Learning" (CCS 2017, https://eprint.iacr.org/2017/281), with the sparse graph of Bell et al.,
"Secure Single-Server Aggregation with (Poly)Logarithmic Overhead" (CCS 2020,
https://eprint.iacr.org/2020/704), as two state machines without I/O: ``device.SecAggDevice`` and
``server.SecAggServer``. They exchange the messages of ``wire``; transport, sealing, storage and the
clock belong to whoever drives them. ``docs/protocol.md`` describes every byte.

What holds, for nodes whose identity keys an authority vouched for (Sybils void all of it):

- The server and up to ``threshold - 1`` holders of a node's shares see nothing of its vector but
  the sum over the survivors, except with probability 2**-40 (``parameters``).
- A server that shows two survivor sets gets a quorum for one of them at most.
- Up to ``tolerated`` nodes may vanish between any two legs and the sum is exact; beyond that it is
  void, never wrong.

Not covered:

- Constant time: Shamir's shares are computed with Python integers, whose timing depends on values.
- Norm proofs: a node can add any vector; what bounds it is its own code (``lattice``).
- Post-quantum secrecy of the masks, which rest on X25519.
- A server that picks who "dropped out" after it saw a sparse graph (n > 100), together with many
  corrupt nodes that chance put in the right places: emptied runs of the ring would cut the sum in
  two parts of ``threshold + 1`` nodes or more. Nodes refuse survivors that are thin anywhere
  (``parameters.fewest_nearby``). Against few corrupt nodes that is enough; with a tenth of all
  nodes corrupt and three tenths allowed to vanish, about one roster of 1,000 nodes in four has two
  runs that such a server could empty, and nearly every roster of 101 to 300. The complete graph has
  no cut: where so many nodes may be corrupt, keep cohorts at 100 nodes or fewer.
- Erasing memory: Python cannot; wiped machines keep no reference to a secret, that is all.
"""
