"""Speech and its transcriptions: fairseq's manifests, features, lexicons, n-grams, and corpora as published."""
