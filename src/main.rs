//! The program: everything is in the library.

fn main() -> std::process::ExitCode {
    phoenix_dr::run(std::env::args_os().collect())
}
