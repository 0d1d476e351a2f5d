//! banyan-control
