//! The human: a terminal, a script in their place, or a refusal.
