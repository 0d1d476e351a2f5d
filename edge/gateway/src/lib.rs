//! banyan-gateway
