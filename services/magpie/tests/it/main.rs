//! The program from outside: its command line, its exit codes, what it prints, and a first message.

mod command_line;
mod first_message;
mod grpc_port;
mod operators;
mod process;
