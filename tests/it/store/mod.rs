//! The store under power cuts.

mod power_cut;
mod recording;
