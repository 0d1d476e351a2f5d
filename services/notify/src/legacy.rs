//! The layer between the monolith's rows and this service's own words; goes when the monolith is retired.
//!
//! Map: [`columns`] rows in both directions, [`forward`] the monolith's stream, [`intent`] what its strays
//! wanted.

pub mod columns;
pub mod forward;
pub mod intent;
