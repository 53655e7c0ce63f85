"""SEARNN: Leblond, Alayrac, Osokin, Lacoste-Julien 2017 (arXiv 1706.04499) and 2018 (ICLR).

A roll-in gives a sequence. At some cells (its positions) some tokens, the actions, are tried. A roll-out finishes each,
and the cost of the finished sequence against the gold one tells how good the action was. A loss of scores and costs
trains the model.

    algorithm.py    from a batch to the loss of each sentence
    roll_in.py      the roll-in
    rollouts.py     the roll-outs that need the decoder: by row_search.py, or with any decoder by row_groups.py
    policies.py     the reference policy, which needs none
    subsampling.py  which cells and which tokens are tried
    losses.py       from the scores and the costs of a cell's tokens to its loss
"""
