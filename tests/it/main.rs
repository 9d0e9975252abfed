//! Lane 1: no network, no server. Files of events through real components into tables on disk; and the rules of the house.

mod advice;
mod bad_input;
mod blame;
mod commands;
mod config;
mod demo;
mod dev;
mod documents;
mod evolving;
mod file_identity;
mod file_kinds;
mod files;
mod golden;
mod hostile;
mod messages;
mod own;
mod records;
mod running;
mod secrets;
mod storage;
mod tidy;
