//! banyan-auth
