"""A fully differentiable beam search decoder: Collobert, Hannun, Synnaeve 2019 (ICML).

An acoustic model is trained *through* the beam search that will decode it, with lexicon and language model. With f_t(u)
the emissions of unit u (a letter, a phone) at frame t, g(u', u) the transitions, y a word sequence and A(y) all its
alignments, a path pi through the lexicon's prefix tree scores

    s(pi) = sum over t of f_t(pi_t) + g(pi_t-1, pi_t) + silence_score [pi_t is the silence]
          + sum over its words w of lm_weight * LM(w | history) + word_score,  + lm_weight * LM(end | history)

    loss = logadd of s(pi) over the paths of the beam that are complete at the last frame
         - logadd of s(pi) over A(y)

    lexicon.py                   the prefix tree; repetition symbols
    topologies.py                CTC and ASG: which unit may follow which, as a graph over the prefix tree
    language_models.py           what the search asks of a language model; none
    arpa.py, ngrams.py           a back-off n-gram from an ARPA file, its probabilities trainable
    recurrent.py                 a recurrent language model; `recurrent_files.py`: as a file
    scoring.py                   the weights of a path's terms; sums over paths, and their gradients
    search.py                    the beam, frame by frame; `expansion.py`: its candidates; `merging.py`: which are one
    lattice.py                   the score of all that the beam kept, with its gradient
    alignments.py                the score of A(y), with its gradient, and the states that the gold is in
    objective.py                 the loss
    decoding.py                  the n best word sequences

The search chooses without gradient; what it kept is a sum over paths, whose gradient is the share of each arc in it.
Beside the alphabet of `algorithms/__init__.py`:

=====  ==============================================================================================
``T``  frames (the longest of the batch)
``U``  units, the CTC blank among them
``M``  words of a transcription (the longest of the batch)
``N``  nodes of the prefix tree; node 0 is the root
``P``  places: a node together with the unit of the latest frame (`topologies.py`)
``Q``  states of the language model
``H``  hypotheses after a frame, those of all sentences in one row; sentence b's stand side by side
``C``  candidates of a frame, likewise
=====  ==============================================================================================
"""
