//! What only looks, a file per kind; `Checks` is the engine's port over all of them.
