"""`python -m seqsearch_fairseq diagnose`: which biases a checkpoint has, and which training addresses them."""
