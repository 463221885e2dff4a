//! Runs of made-up models: stopped, resumed, recorded, and with answers shared.

mod birds;
mod packs;
mod run;
mod sharing;
