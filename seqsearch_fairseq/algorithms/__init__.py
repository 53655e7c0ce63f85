"""The papers' algorithms, in torch alone: nothing here knows fairseq, so each can be read beside its paper.

One alphabet of shapes stands for all of them:

=====  ==============================================================================================
``B``  sentences in the batch
``T``  target positions (the longest of the batch)
``K``  beams, `beam_size`
``I``  beams that a step begins with: K, or the single one that there is before the first step
``V``  vocabulary, the output symbols of the decoder
``E``  embedding, what the decoder takes as input
``D``  hidden units, whatever recurrent tensors a decoder has
``N``  rows that a decoder runs at once, ``B * K``; row ``b * K + k`` is beam ``k`` of sentence ``b``
=====  ==============================================================================================

A model enters an algorithm as a `Step` (`step.py`), never as a fairseq object.
"""
