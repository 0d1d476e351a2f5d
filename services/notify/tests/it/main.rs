//! notify over loopback HTTP on a real file: the gateway's, control's and sync's requests, and real SMTP.
#![cfg(test)]

mod import;
mod laravel;
mod letters;
mod mail;
mod ownership;
mod peers;
mod smtp;
mod traces;
mod users;
mod world;
