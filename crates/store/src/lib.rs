//! banyan-store
