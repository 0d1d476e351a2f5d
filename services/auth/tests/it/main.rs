//! auth against a genuine Laravel application on a real MariaDB.
#![cfg(test)]

mod laravel;
mod servers;
mod store;
mod world;
