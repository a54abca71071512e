//! The command `countersign`.

fn main() -> std::process::ExitCode {
    countersign_cli::main()
}
