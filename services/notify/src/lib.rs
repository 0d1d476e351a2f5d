//! banyan-notify
