//! What a pipeline must remember of its own: the journal of batch plans.
