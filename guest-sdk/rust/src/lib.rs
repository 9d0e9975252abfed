//! What the author of a transform imports.
