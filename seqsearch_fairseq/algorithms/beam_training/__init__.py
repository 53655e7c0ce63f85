"""Training over what a hard beam finds: the search is a constant choice, and gradients flow through the scores.

    watched_search.py            beam search without gradient that knows where the gold prefix is
    candidates.py                complete candidates, by beam search or by sampling
    prefix_scores.py             the scores of what was found, with gradient, in one teacher-forced batch
    global_likelihood.py         Andor et al. 2016
    beam_search_optimization.py  Wiseman & Rush 2016
    minimum_risk.py              Shen et al. 2016; Edunov et al. 2018

Where the decoder has dropout, search and sampling are without it (`Step.noise_free`), and the scores of the loss are
with it.
"""
