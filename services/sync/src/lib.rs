//! banyan-sync
